"""Reads one version of an object from its first byte to its last, and makes sure that these are its bytes."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import structlog
from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from producers.errors import SourceUnavailable

log = structlog.get_logger(__name__)

_READ_ATTEMPTS: Final = 5


class ObjectReader:
    """An object as a file. A connection that breaks goes on where it broke.

    The end of the bytes is the end of the file only when they are as many as the store has listed and,
    where it tells their MD5, the same ones; the last of them are given out after that.

    Args:
        open_at: opens the object at an offset; raises `SourceError`s.
        size: how many bytes there are.
        md5: of all of them, in hex; None where the store does not tell.
    """

    def __init__(self, open_at: Callable[[int], Any], size: int, md5: str | None = None) -> None:
        self._open_at = open_at
        self._size = size
        self._md5 = md5
        self._hash = hashlib.md5(usedforsecurity=False)
        self._offset = 0
        self._failures = 0
        self._body: Any = None

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end.

        Raises:
            SourceChanged: the object is another one by now.
            SourceUnavailable: the connection broke too often, or the bytes are not those of the object.
        """
        while self._offset < self._size:
            data = self._some(min(size, self._size - self._offset))
            if data:
                self._take(data)
                return data
        return b""

    def _some(self, size: int) -> bytes:
        """Bytes from where we are; none after a connection broke, or ended too early."""
        try:
            if self._body is None:
                self._body = self._open_at(self._offset)
            data: bytes = self._body.read(size)
            broke = "" if data else f"it ended after {self._offset} of {self._size} bytes"
        except (BotoCoreError, HTTPError, OSError) as error:
            data, broke = b"", type(error).__name__
        if broke:
            self.close()
            self._failures += 1
            log.info("reading_broke_off", reason=broke, failures=self._failures)
            if self._failures >= _READ_ATTEMPTS:
                raise SourceUnavailable(f"reading broke off: {broke}")
        return data

    def _take(self, data: bytes) -> None:
        self._offset += len(data)
        self._hash.update(data)
        if self._md5 and self._offset == self._size and self._hash.hexdigest() != self._md5:
            raise SourceUnavailable(
                "the bytes that were read are not those of the object: their MD5 is not its ETag"
            )

    def close(self) -> None:
        """Drop the connection."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
