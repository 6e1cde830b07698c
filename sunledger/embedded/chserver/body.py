"""The body of a request: decompressed, its beginning looked at first."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from sunledger.embedded.chserver.compression import Decompressor

# Enough for any INSERT statement with its column list.
_HEAD_BYTES = 64 * 1024


class Body:
    """Read once, in order: `head`, then `rest` or `chunks`."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source

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
        parts: list[bytes] = []
        collected = 0
        async for chunk in self._source:
            parts.append(chunk)
            collected += len(chunk)
            if collected >= _HEAD_BYTES:
                break
        return b"".join(parts)

    async def rest(self) -> bytes:
        """Everything behind the head."""
        return b"".join([chunk async for chunk in self._source])

    def chunks(self) -> AsyncIterator[bytes]:
        """Everything behind the head, as it comes."""
        return self._source


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


async def _decompressed(http: Request, decompressor: Decompressor) -> AsyncIterator[bytes]:
    async for chunk in http.stream():
        if data := decompressor.feed(chunk):
            yield data
    decompressor.end()
