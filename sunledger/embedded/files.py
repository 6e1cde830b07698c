"""Small files of a data directory: written atomically, readable by the owner only, locked by one process."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import IO, Any

from sunledger.embedded.errors import StackBusy


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically with `text`, mode 0600 from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace `path` atomically with `value` as JSON, mode 0600."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None when the file is missing or cut short by a crash."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


class FileLock:
    """An exclusive lock on a file, freed by the kernel when its process ends in any way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self, *, blocking: bool = False) -> None:
        """Take the lock and write our pid into the file.

        Raises StackBusy when another holder has it and `blocking` is false.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            raise StackBusy(
                f"{self.path.parent} is in use by process {holder(self.path) or 'unknown'}"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def descriptor(self) -> int:
        """The open file, which a child process may inherit: then the lock lasts as long as either.

        Raises ValueError when the lock is not held.
        """
        if self._file is None:
            raise ValueError("the lock is not held")
        return self._file.fileno()

    @classmethod
    def inherited(cls, path: Path, descriptor: int) -> FileLock:
        """The lock that the parent process held and handed over."""
        os.set_inheritable(descriptor, False)
        lock = cls(path)
        lock._file = os.fdopen(descriptor, "a+", encoding="utf-8")
        return lock

    def release(self) -> None:
        """Free the lock; calling it twice is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> FileLock:
        self.acquire(blocking=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file `path`."""
    if not path.exists():
        return False
    with path.open("r", encoding="utf-8") as file:
        try:
            # A shared probe, so that two observers do not see each other as holders.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def holder(path: Path) -> int | None:
    """The pid written by the last holder of the lock file, whether or not it still runs."""
    try:
        return int(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None
