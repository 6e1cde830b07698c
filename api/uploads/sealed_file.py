"""A file that nobody but us can read: AES-256-GCM in chunks, written and read from front to back.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce of a chunk is its number and
a mark on the last one, so that chunks that are missing, exchanged or cut off at the end do not open. A key
belongs to one file, which makes nonces that are counted safe.
"""

import hashlib
import os
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from api.uploads.errors import SpoolLost

CHUNK_BYTES: Final = 256 * 1024
"""Plain bytes of every chunk but the last, which may have fewer, or none."""
_TAG_BYTES: Final = 16
_SEALED_BYTES: Final = CHUNK_BYTES + _TAG_BYTES


def new_key() -> bytes:
    """The key of one file: 32 random bytes."""
    return AESGCM.generate_key(256)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class SealedWriter:
    """Encrypts what is written into an empty file. `finish` makes it whole.

    Attributes:
        size: plain bytes so far.
    """

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        self._file = file
        self._aead = AESGCM(key)
        self._waiting = bytearray()
        self._chunks = 0
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append bytes (OSError: the disk does not take them)."""
        self.size += len(data)
        self._hash.update(data)
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:
            self._put(bytes(self._waiting[:CHUNK_BYTES]), last=False)
            del self._waiting[:CHUNK_BYTES]

    def finish(self) -> str:
        """Write the last chunk and wait until all is on the disk; the SHA-256 of the plain bytes, in hex."""
        self._put(bytes(self._waiting), last=True)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()

    def _put(self, data: bytes, *, last: bool) -> None:
        self._file.write(self._aead.encrypt(_nonce(self._chunks, last), data, None))
        self._chunks += 1


class SealedReader:
    """The plain bytes of a file that `SealedWriter` finished, from front to back (`BinarySource`).

    Attributes:
        at: how many bytes were read.

    Raises:
        SpoolLost: the file was never finished.
    """

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        self._file = file
        self._aead = AESGCM(key)
        self._chunks = -(-os.fstat(file.fileno()).st_size // _SEALED_BYTES)
        self._next = 0
        self._ready = memoryview(b"")
        self.at = 0
        if not self._chunks:
            raise SpoolLost("the file in the spool was never finished")

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end.

        Raises:
            SpoolLost: a chunk does not open: another key, damaged, or cut off.
        """
        if not self._ready and self._next < self._chunks:
            self._ready = memoryview(self._chunk())
        data = bytes(self._ready[:size])
        self._ready = self._ready[size:]
        self.at += len(data)
        return data

    def close(self) -> None:
        """Close the file under it."""
        self._file.close()

    def _chunk(self) -> bytes:
        """The next chunk, opened."""
        sealed = self._file.read(_SEALED_BYTES)
        number, self._next = self._next, self._next + 1
        try:
            return self._aead.decrypt(_nonce(number, number == self._chunks - 1), sealed, None)
        except InvalidTag:
            raise SpoolLost("the file in the spool is damaged, or cut off") from None
