"""The locked jars: verified before use, remembered, and never accepted when they differ."""

from __future__ import annotations

import gc
import hashlib
import os
import warnings
from pathlib import Path

import pytest

from sunledger.embedded import jars
from sunledger.embedded.errors import ChecksumMismatch, DownloadFailed
from sunledger.embedded.jars import Artifact

# The smallest jar of the lock, so that the real download of a test is small.
SMALL = min((a for artifacts in jars.lock().values() for a in artifacts), key=lambda a: a.size)


def test_lock_is_complete() -> None:
    """Every program has its main jar, and every entry a full digest."""
    assert any("kafka_2.13" in a.coordinate for a in jars.lock()["kafka"])
    assert any(a.coordinate.startswith("org.gaul:s3proxy:") for a in jars.lock()["s3proxy"])
    assert all(len(a.sha256) == 64 and a.size > 0 for artifacts in jars.lock().values() for a in artifacts)


def test_download_verifies_and_remembers(tmp_path: Path) -> None:
    """A real download ends in place; the second time the file is not even read."""
    [path] = jars.fetch([SMALL], tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SMALL.sha256
    status = path.stat()
    # Same size and time, other bytes: a second hash would notice.
    path.write_bytes(b"x" * SMALL.size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert jars.fetch([SMALL], tmp_path) == [path]


def test_damaged_file_is_deleted_and_named(tmp_path: Path) -> None:
    """A file that is not the locked one: the error names it and both digests, and the file is gone."""
    path = tmp_path / SMALL.relative_path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a jar")
    with pytest.raises(ChecksumMismatch) as caught:
        jars.fetch([SMALL], tmp_path)
    text = str(caught.value)
    assert SMALL.coordinate in text
    assert SMALL.sha256 in text
    assert hashlib.sha256(b"not a jar").hexdigest() in text
    assert not path.exists()
    assert jars.fetch([SMALL], tmp_path) == [path]


def test_download_that_differs_from_the_lock_is_refused(tmp_path: Path) -> None:
    """What the repository sends is not trusted either: nothing of it stays."""
    wrong = Artifact(SMALL.coordinate, "0" * 64, SMALL.size)
    with pytest.raises(ChecksumMismatch, match=SMALL.coordinate):
        jars.fetch([wrong], tmp_path)
    assert not list(tmp_path.rglob("*.jar"))


def test_missing_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact that cannot be had is named."""
    monkeypatch.setattr(jars.time, "sleep", lambda _seconds: None)
    with pytest.raises(DownloadFailed, match="no-such-thing") as caught:
        jars.fetch([Artifact("org.gaul:no-such-thing:1.0", "0" * 64, 1)], tmp_path)
    del caught
    # jgo leaves the answer of a failed request open: let it be collected here, not under another test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """M2_REPO wins over XDG_CACHE_HOME, which wins over the home folder."""
    monkeypatch.delenv("M2_REPO", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars.cache_dir() == tmp_path / "sunledger" / "m2"
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    assert jars.cache_dir() == tmp_path / "m2"
