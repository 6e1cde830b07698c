"""The directory in which an API process keeps uploaded files until they are published: sealed and locked.

Several processes may share it. A file is locked (flock) by whoever writes or publishes it, and the lock ends
with its process, so that a file which nobody holds is free to be gone on with, or to be removed.
"""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from api.ids import is_id
from api.uploads.errors import NoRoom, SpoolLost
from api.uploads.sealed_file import SealedReader, SealedWriter

_NAME: Final = "spool-id"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LOOK_BYTES: Final = 16 * 1024 * 1024
"""How much of a file is written between two looks at the free space."""


class Spool:
    """One directory.

    Attributes:
        id: names it for ever; another one means that the directory was lost.
    """

    def __init__(self, directory: Path, reserve_bytes: int) -> None:
        """Make it if need be, for its owner only; `reserve_bytes` of the disk are left to others.

        Raises:
            OSError: it cannot be made, or not be written to.
        """
        self._directory = directory
        self._reserve = reserve_bytes
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        self.id = self._named()

    def _named(self) -> str:
        """Its id, made at first use; of several processes at once one makes it."""
        path = self._directory / _NAME
        if not path.exists():
            mine = path.with_name(f".{_NAME}-{uuid.uuid4().hex}")
            _write_down(mine, f"spl_{uuid.uuid4().hex}")
            with suppress(FileExistsError):
                os.link(mine, path)
            mine.unlink()
            self.sync()
        return path.read_text().strip()

    def check_room(self, size: int) -> None:
        """Refuse what would not fit.

        Args:
            size: bytes that are to be written from now on.

        Raises:
            NoRoom: less than the reserve would be left.
        """
        if shutil.disk_usage(self._directory).free - size < self._reserve:
            raise NoRoom

    def receive(self, upload_id: str, key: bytes) -> "Incoming":
        """An empty file for an upload, locked.

        Raises:
            NoRoom: the disk is full.
        """
        path = self._path(upload_id)
        with full_disk():
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return Incoming(self, path, os.fdopen(fd, "wb"), key)

    @contextmanager
    def held(self, upload_id: str) -> Iterator[bool]:
        """Lock an upload's file; False while another process or thread has it.

        Raises:
            SpoolLost: there is no such file.
        """
        try:
            fd = os.open(self._path(upload_id), os.O_RDONLY)
        except FileNotFoundError:
            raise SpoolLost("the file is gone from the spool") from None
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    def open(self, upload_id: str, key: bytes) -> SealedReader:
        """The plain bytes of an upload's file.

        Raises:
            SpoolLost: it is not there, or was never finished.
        """
        try:
            file = self._path(upload_id).open("rb")
        except FileNotFoundError:
            raise SpoolLost("the file is gone from the spool") from None
        try:
            return SealedReader(file, key)
        except SpoolLost:
            file.close()
            raise

    def uploads(self) -> list[str]:
        """Ids of the uploads that have a file here."""
        return sorted(path.name for path in self._directory.iterdir() if is_id(path.name))

    def remove(self, upload_id: str) -> None:
        """Delete an upload's file; none is no error."""
        self._path(upload_id).unlink(missing_ok=True)
        self.sync()

    def sync(self) -> None:
        """Names of files are on the disk too."""
        fd = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _path(self, upload_id: str) -> Path:
        if not is_id(upload_id):
            raise ValueError("not the id of an upload")
        return self._directory / upload_id


class Incoming:
    """A file that is being received. Leave it with `keep`, or it is deleted by `discard`."""

    def __init__(self, spool: Spool, path: Path, file: BinaryIO, key: bytes) -> None:
        self._spool = spool
        self._path = path
        self._file = file
        self._writer = SealedWriter(file, key)
        self._looked_at = 0

    @property
    def size(self) -> int:
        """Plain bytes so far."""
        return self._writer.size

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            NoRoom: the disk is full, or soon will be.
        """
        if self.size - self._looked_at >= _LOOK_BYTES:
            self._spool.check_room(len(data))
            self._looked_at = self.size
        with full_disk():
            self._writer.write(data)

    def keep(self) -> str:
        """Return when the file survives a crash; its SHA-256 in hex. It stays locked until `close`.

        Raises:
            NoRoom: the disk is full.
        """
        with full_disk():
            content_hash = self._writer.finish()
            self._spool.sync()
        return content_hash

    def close(self) -> None:
        """Give the lock up; the file stays."""
        with suppress(OSError):  # what could not be written is either kept by now or thrown away
            self._file.close()

    def discard(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)
        self.close()


@contextmanager
def full_disk() -> Iterator[None]:
    """Tell a disk that takes no more in our words; other errors of the disk stay what they are."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoRoom from None
        raise


def _write_down(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
