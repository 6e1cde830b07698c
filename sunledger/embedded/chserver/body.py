"""The body of a request: decompressed, its beginning looked at first, the rest taken in large pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from sunledger.embedded.chserver.compression import Decompressor

# Enough for any INSERT statement with its column list.
_HEAD_BYTES = 64 * 1024
# One piece is one call into the engine; up to this size a body becomes a single one.
_PIECE_BYTES = 32 * 1024 * 1024


class Body:
    """Read once, in order: `head`, then `rest` or `chunks`."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self.is_at_end = False

    @classmethod
    def of(cls, http: Request) -> Body:
        """The body of a request. Reading it raises ClickHouseError and starlette's ClientDisconnect."""
        encoding = http.headers.get("content-encoding", "").lower()
        return cls(_decompressed(http, Decompressor(encoding)) if encoding else http.stream())

    @classmethod
    def empty(cls) -> Body:
        """A body without bytes."""
        return cls(_nothing())

    async def head(self) -> bytes:
        """The beginning: at least 64 KiB, or everything."""
        return await self._collect(_HEAD_BYTES)

    async def rest(self) -> bytes:
        """Everything behind the head."""
        return b"".join([chunk async for chunk in self._source])

    async def piece(self) -> bytes:
        """The next piece of at most some 32 MiB; empty at the end."""
        return await self._collect(_PIECE_BYTES)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Everything behind the head, in pieces of some 32 MiB."""
        while piece := await self.piece():
            yield piece

    async def _collect(self, size: int) -> bytes:
        parts: list[bytes] = []
        collected = 0
        async for chunk in self._source:
            parts.append(chunk)
            collected += len(chunk)
            if collected >= size:
                break
        else:
            self.is_at_end = True
        return b"".join(parts)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


async def _decompressed(http: Request, decompressor: Decompressor) -> AsyncIterator[bytes]:
    async for chunk in http.stream():
        if data := decompressor.feed(chunk):
            yield data
    decompressor.end()
