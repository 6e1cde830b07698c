"""Make the ahead-of-time caches: each Java program runs once, until it answers, and writes what it loaded."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sunledger.embedded import aot, jars
from sunledger.embedded.errors import PartFailed
from sunledger.embedded.files import FileLock
from sunledger.embedded.kafka import Kafka
from sunledger.embedded.part import Part, wait_ready
from sunledger.embedded.ports import PortClaims, choose_ports
from sunledger.embedded.process import Child
from sunledger.embedded.s3 import S3

# The cache is written when the program ends, which takes some seconds of every core.
_WRITTEN_S = 120.0

_PARTS: dict[str, Callable[[Path, dict[str, int]], Part]] = {
    "kafka": lambda folder, ports: Kafka(folder, ports["kafka"], ports["kafka_controller"]),
    "s3proxy": lambda folder, ports: S3(folder, ports["s3"], "training", "training"),
}


def get_ready(programs: Iterable[str] | None = None) -> None:
    """Fetch the jars of `programs` (default: all), and make the caches that are missing.

    A cache that cannot be made is told of on standard error: without it everything works, and starts slower.

    Raises ChecksumMismatch and DownloadFailed.
    """
    names = sorted(jars.lock() if programs is None else set(programs))
    jars.fetch_all(names)
    if all(aot.cache_path(name).exists() for name in names):
        return
    # One process makes them, the others wait and then find them.
    with FileLock(jars.cache_dir() / ".sunledger.aot.lock"):
        missing = [name for name in names if not aot.cache_path(name).exists()]
        if missing:
            _say(f"preparing {' and '.join(missing)} for quick starts, once")
            with ThreadPoolExecutor(len(missing)) as pool:
                list(pool.map(_make, missing))


def _make(program: str) -> None:
    path = aot.cache_path(program)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".training-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            _train(program, Path(folder), draft)
            for old in path.parent.glob(f"{program}-*.aot"):
                old.unlink()
            draft.replace(path)
    except (PartFailed, OSError) as error:
        _say(f"{program} will start slower: its classes could not be prepared: {error}")


def _train(program: str, folder: Path, draft: Path) -> None:
    """Run the program until it answers, and let it write its cache. Raises PartFailed and OSError."""
    claims = PortClaims()
    try:
        ports = choose_ports(folder / "ports.json", claims, prefer_defaults=False)
        part = _PARTS[program](folder / program, ports)
        part.prepare()
        java, *args = part.command().argv
        argv = [java, f"-XX:AOTCacheOutput={draft}", *args]
        child = Child.start(program, argv, folder / "logs")
        try:
            wait_ready(part, child)
        finally:
            child.stop(_WRITTEN_S)
        if not draft.exists():
            raise PartFailed(program, "\n".join(["no cache was written", *child.tail()]))
    finally:
        claims.release()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
