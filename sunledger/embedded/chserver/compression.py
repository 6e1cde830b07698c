"""Content encodings of requests and responses, those clickhouse-connect and curl ask for."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame  # type: ignore[import-untyped]

from sunledger.embedded.chserver.errors import ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class _Lz4Compressor:
    def __init__(self) -> None:
        self._codec = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes) -> bytes:
        head = b"" if self._begun else self._codec.begin()
        self._begun = True
        return bytes(head) + bytes(self._codec.compress(data))

    def flush(self) -> bytes:
        head = b"" if self._begun else self._codec.begin()
        return bytes(head) + bytes(self._codec.flush())


# In the order clickhouse-connect prefers them.
_COMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": _Lz4Compressor,
    "zstd": lambda: zstd.ZstdCompressor(level=1),
    "gzip": lambda: zlib.compressobj(1, zlib.DEFLATED, 31),
    "deflate": lambda: zlib.compressobj(1),
}
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(31),
    "deflate": zlib.decompressobj,
}
_BAD_ARGUMENTS = 36


def choose(accept_encoding: str) -> str | None:
    """The encoding for a response: the first offered one that we have."""
    offered = [item.split(";")[0].strip().lower() for item in accept_encoding.split(",")]
    return next((name for name in offered if name in _COMPRESSORS), None)


class Compressor:
    """Compress one response, chunk by chunk."""

    def __init__(self, encoding: str) -> None:
        self._codec = _COMPRESSORS[encoding]()

    def feed(self, data: bytes | memoryview) -> bytes:
        """Compressed bytes so far; possibly none."""
        return bytes(self._codec.compress(data))

    def end(self) -> bytes:
        """The rest."""
        return bytes(self._codec.flush())


class Decompressor:
    """Decompress one request body; several frames in a row count as one stream."""

    def __init__(self, encoding: str) -> None:
        if encoding not in _DECOMPRESSORS:
            raise ClickHouseError.make(
                _BAD_ARGUMENTS, "BAD_ARGUMENTS", f"Unknown Content-Encoding {encoding}", 400
            )
        self._make = _DECOMPRESSORS[encoding]
        self._codec = self._make()
        self._fed = False

    def feed(self, data: bytes) -> bytes:
        """Decompressed bytes. Raises ClickHouseError on damaged input."""
        parts: list[bytes] = []
        try:
            while data:
                # clickhouse-connect compresses each block of rows as a frame of its own.
                if self._codec.eof:
                    self._codec = self._make()
                parts.append(self._codec.decompress(data))
                self._fed = True
                data = (self._codec.unused_data or b"") if self._codec.eof else b""
        except (RuntimeError, zlib.error, zstd.ZstdError) as error:
            raise ClickHouseError.make(
                354, "ZLIB_INFLATE_FAILED", f"Cannot decompress: {error}", 400
            ) from error
        return b"".join(parts)

    def end(self) -> None:
        """Raise ClickHouseError when the last frame is cut short."""
        if self._fed and not self._codec.eof:
            raise ClickHouseError.make(33, "CANNOT_READ_ALL_DATA", "Compressed body is cut short")
