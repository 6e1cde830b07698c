"""The bytes of a web server's answer, unpacked in pieces: a small packed one never grows large at once."""

import zlib
from typing import Any, Final

from producers.errors import SourceError, SourceUnavailable

_PLAIN: Final = ("", "identity")
_GZIP: Final = ("gzip", "x-gzip")
_GZIP_FORM: Final = 31
"""`wbits` of zlib for gzip with the largest window."""


class Body:
    """Reads the body of a response of urllib3 that was asked for without decoding.

    Raises:
        SourceError: it is packed in a way that was not asked for.
    """

    def __init__(self, response: Any) -> None:
        self._response = response
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if coding not in (*_PLAIN, *_GZIP):
            raise SourceError("the API packs its answer in a way that was not asked for, expected gzip")
        self._is_packed = coding in _GZIP
        self._unpack = zlib.decompressobj(_GZIP_FORM)
        self._packed = b""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, as soon as there are some; empty at the end.

        Raises:
            SourceUnavailable: the answer broke off, or is damaged.
            urllib3.exceptions.HTTPError: the connection failed.
        """
        if not self._is_packed:
            return self._received(size)
        try:
            return self._unpacked(size)
        except zlib.error:
            raise SourceUnavailable("the packed answer is damaged") from None

    def _unpacked(self, size: int) -> bytes:
        while True:
            if self._unpack.eof and self._packed:
                self._unpack = zlib.decompressobj(_GZIP_FORM)  # a further member (RFC 1952, 2.2)
            packed = self._packed or self._received(size)
            if not packed:
                if not self._unpack.eof:
                    raise SourceUnavailable("the packed answer broke off")
                return b""
            data = self._unpack.decompress(packed, size)
            self._packed = self._unpack.unconsumed_tail or self._unpack.unused_data
            if data:
                return data

    def _received(self, size: int) -> bytes:
        data: bytes = self._response.read1(size, decode_content=False)
        return data
