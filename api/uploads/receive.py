"""The body of an upload from the network onto the disk, piece by piece; a failure leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api import ids
from api.errors import Invalid
from api.uploads.errors import Incomplete, NotMultipart
from api.uploads.form import FILE, Form
from api.uploads.names import check_form
from api.uploads.sealed_file import new_key
from api.uploads.spool import Incoming, Spool

UPLOAD: Final = "upl"
"""Prefix of the ids of uploads."""
IDLE_S: Final = 60.0
"""How long a body may stop coming."""


@dataclass(slots=True)
class Received:
    """A file in the spool, locked, with what was said about it.

    Attributes:
        size: bytes of the file.
        content_hash: SHA-256 of them, in hex.
    """

    id: str
    key: bytes = field(repr=False)
    incoming: Incoming
    file_name: str
    size: int
    content_hash: str
    fields: dict[str, list[str]] = field(repr=False)


class Receiver:
    """Receives one upload."""

    def __init__(self, spool: Spool, content_type: str) -> None:
        """Raises `NotMultipart` for another content type."""
        self._spool = spool
        self._id, self._key = ids.new_id(UPLOAD), new_key()
        self._name = ""
        self._incoming: Incoming | None = None
        self._form = Form(content_type, self._open)

    def _open(self, name: str) -> Incoming:
        check_form(name)
        self._name = name
        self._incoming = self._spool.receive(self._id, self._key)
        return self._incoming

    def feed(self, data: bytes) -> None:
        """Take a piece of the body. Blocks; errors as of `Form.feed`."""
        self._form.feed(data)

    def finish(self) -> Received:
        """Return when the file survives a crash. Blocks.

        Raises:
            Incomplete: the body has no end.
            Invalid: there is no file in it.
            NoRoom: the disk is full.
        """
        self._form.check_ended()
        if self._incoming is None:
            raise Invalid.field(FILE, "missing", "Expected the file in this part.")
        content_hash = self._incoming.keep()
        size = self._incoming.size
        return Received(
            self._id, self._key, self._incoming, self._name, size, content_hash, self._form.fields
        )

    def discard(self) -> None:
        """Delete what there is. Blocks."""
        if self._incoming is not None:
            self._incoming.discard()


async def receive(request: Request, spool: Spool) -> Received:
    """Receive the upload of a request; the caller closes or discards what it gets.

    Raises:
        NotMultipart, MalformedBody, Incomplete, Invalid: the body is no upload.
        BodyTooLarge: it is over the limit (raised by the middleware while it is read).
        NoRoom: the disk is full, or would be.
        ClientDisconnect: nobody is there to be answered.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise NotMultipart
    receiver = Receiver(spool, request.headers.get("content-type", ""))
    length = request.headers.get("content-length", "")
    try:
        await run_in_threadpool(spool.check_room, int(length) if length.isdecimal() else 0)
        async for piece in _pieces(request):
            await run_in_threadpool(receiver.feed, piece)
        return await run_in_threadpool(receiver.finish)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(receiver.discard))
        raise


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Incomplete("The body stopped coming; nothing of it was kept. Send it again.") from None
        if piece:
            yield piece
