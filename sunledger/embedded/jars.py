"""Fetch the locked jars: every file is pinned by version and sha256, nothing is resolved at run time.

`python -m sunledger.embedded.jars` fetches them all; with `--relock` it resolves the dependency trees anew
and rewrites the lock (for developers, see `jars_lock`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from jgo.maven import MavenContext

from sunledger.embedded.download_progress import Progress, progress
from sunledger.embedded.errors import ChecksumMismatch, DownloadFailed
from sunledger.embedded.files import FileLock, read_json, write_json

_WORKERS = 8
_ATTEMPTS = 4
_TIMEOUT_S = 60
_VERIFIED = "verified.json"


@dataclass(frozen=True)
class Artifact:
    """One locked file: `group:name:version`, its sha256 in hex and its size in bytes."""

    coordinate: str
    sha256: str
    size: int

    @property
    def relative_path(self) -> Path:
        """Where a Maven repository keeps the file."""
        group, name, version = self.coordinate.split(":")
        return Path(*group.split("."), name, version, f"{name}-{version}.jar")


@cache
def lock() -> dict[str, tuple[Artifact, ...]]:
    """The lock file: artifacts by program, in class path order."""
    text = resources.files(__package__).joinpath("jars.lock.json").read_text(encoding="utf-8")
    return {
        program: tuple(Artifact(**entry) for entry in entries)
        for program, entries in json.loads(text).items()
        if not program.startswith("_")
    }


def cache_dir() -> Path:
    """The local repository: `M2_REPO`, else a folder under `XDG_CACHE_HOME` or `~/.cache`."""
    if repository := os.environ.get("M2_REPO"):
        return Path(repository)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sunledger" / "m2"


def class_path(program: str) -> str:
    """The class path of `program` (`kafka`, `s3proxy`), fetching what is missing."""
    return os.pathsep.join(str(path) for path in fetch(lock()[program]))


def fetch(artifacts: Sequence[Artifact], root: Path | None = None) -> list[Path]:
    """Local paths of `artifacts`, each verified; what is missing is downloaded, several at a time.

    A file is hashed once and remembered by size and modification time. Raises ChecksumMismatch (the file is
    deleted) and DownloadFailed.
    """
    root = cache_dir() if root is None else root
    seen = _Verified(root)
    paths = [root / artifact.relative_path for artifact in artifacts]
    unknown = [a for a in artifacts if not seen.knows(a, root / a.relative_path)]
    if unknown:
        # One process downloads, the others wait and then find the files.
        with FileLock(root / ".sunledger.lock"):
            seen = _Verified(root)
            _fetch_unknown([a for a in unknown if not seen.knows(a, root / a.relative_path)], root, seen)
    return paths


def _fetch_unknown(artifacts: Sequence[Artifact], root: Path, seen: _Verified) -> None:
    missing: list[Artifact] = []
    try:
        for artifact in artifacts:
            path = root / artifact.relative_path
            if path.exists():
                verify(artifact, path)
                seen.add(artifact, path)
            else:
                missing.append(artifact)
        if missing:
            _download_all(missing, root, seen)
    finally:
        seen.save()


def _download_all(artifacts: Sequence[Artifact], root: Path, seen: _Verified) -> None:
    # jgo warns about checksums on its own; ours are the ones that count.
    logging.getLogger("jgo").setLevel(logging.ERROR)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=root))
    total = sum(artifact.size for artifact in artifacts)
    try:
        with progress("jars", len(artifacts), total) as bar, ThreadPoolExecutor(_WORKERS) as pool:
            jobs = [pool.submit(_download, artifact, staging, root, bar) for artifact in artifacts]
            try:
                for job in as_completed(jobs):
                    artifact = job.result()
                    seen.add(artifact, root / artifact.relative_path)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _download(artifact: Artifact, staging: Path, root: Path, bar: Progress) -> Artifact:
    """Download into `staging`, verify there, move into place: `root` never holds half a jar."""
    context = MavenContext(repo_cache=staging, timeout=_TIMEOUT_S)
    group, name, version = artifact.coordinate.split(":")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            path = Path(context.project(group, name).at_version(version).artifact().resolve())
            break
        except Exception as error:
            (staging / artifact.relative_path).unlink(missing_ok=True)
            if attempt == _ATTEMPTS:
                raise DownloadFailed(f"{artifact.coordinate} could not be downloaded: {error}") from error
            time.sleep(0.5 * 2**attempt)
    verify(artifact, path)
    target = root / artifact.relative_path
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
    bar.done(artifact.coordinate, artifact.size)
    return artifact


def verify(artifact: Artifact, path: Path) -> None:
    """Compare a file with its lock entry; on a mismatch delete it and raise ChecksumMismatch."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artifact.sha256:
        path.unlink()
        raise ChecksumMismatch(artifact.coordinate, artifact.sha256, found)


class _Verified:
    """Which files of a repository were hashed before: sha256, size and modification time by path."""

    def __init__(self, root: Path) -> None:
        self._path = root / ".sunledger" / _VERIFIED
        self._entries = read_json(self._path) or {}

    def knows(self, artifact: Artifact, path: Path) -> bool:
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            entry = [artifact.sha256, status.st_size, status.st_mtime_ns]
            return self._entries.get(str(artifact.relative_path)) == entry
        return False

    def add(self, artifact: Artifact, path: Path) -> None:
        status = path.stat()
        self._entries[str(artifact.relative_path)] = [artifact.sha256, status.st_size, status.st_mtime_ns]

    def save(self) -> None:
        write_json(self._path, self._entries)


def fetch_all(programs: Iterable[str] | None = None) -> None:
    """Fetch the jars of `programs` (default: all) in one go, so that one progress bar covers them."""
    names = lock().keys() if programs is None else programs
    fetch(sorted({artifact for name in names for artifact in lock()[name]}, key=lambda a: a.coordinate))


def main(args: Sequence[str]) -> int:
    """Command line: fetch, or `--relock`."""
    if "--relock" in args:
        from sunledger.embedded.jars_lock import relock  # noqa: PLC0415 -- developers only

        relock()
        return 0
    fetch_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
