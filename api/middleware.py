"""Around every request: its id, its time, its body within limits, and an answer whatever happens."""

import re
import time
import traceback
import uuid
import zlib
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import (
    ApiError,
    BadEncoding,
    BodyTooLarge,
    InternalError,
    UnsupportedMediaType,
    UploadTooLarge,
)
from api.metrics import REQUESTS
from api.problems import problem_response

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
SMALL_BYTES: Final = 1024 * 1024
"""Largest body of anything but reads and payments. Who may not log in may still post, and naming the faults
of a million fields takes seconds."""
_BULKY: Final = ("/meter-reads/", "/v1/payments")
_STREAMED: Final = ("POST", "/v1/uploads")
"""The one request whose body is not held in memory: its endpoint reads it piece by piece, after it knows
who is asking."""
_FRAMING_BYTES: Final = SMALL_BYTES
"""What boundaries and fields may add to an uploaded file."""
MAX_MEMBERS: Final = 100
"""Most members of a gzip body. Each costs a copy of what is behind it: 400,000 empty ones, minutes."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestContext:
    """Gives the request an id, measures it, and turns an unexpected exception into a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. The id of the client is kept if it is harmless."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status, begun = 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._guarded(scope, receive, send_with_id)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
            route = getattr(scope.get("route"), "path", "(none)")
            method = scope["method"] if scope["method"] in _METHODS else "(other)"
            REQUESTS.labels(method, route, str(status)).observe(time.perf_counter() - begun)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - the last one to answer; logged with its place
            log.error("unexpected_error", error=type(error).__name__, at=_place(error))
            if not started:
                response = problem_response(Request(scope), InternalError())
                await response(scope, receive, send)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text := value.decode("latin-1")):
            return str(text)
    return uuid.uuid4().hex


def _place(error: BaseException) -> str:
    """Where it happened, without the message: messages of libraries may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))


class BodyLimit:
    """Reads the body before the endpoint does: within the limit, unpacked if it is gzip.

    Args:
        max_upload_bytes: largest uploaded file.
        max_bytes: largest body of reads or payments, before and after unpacking; of others `SMALL_BYTES` at
            most.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_upload_bytes: int) -> None:
        self._app = app
        self._max = max_bytes
        self._max_upload = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with its whole body in one message, or answer 400, 413 or 415."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (scope["method"], scope["path"]) == _STREAMED:
            await self._app(scope, self._counted(scope, receive), send)
            return
        try:
            body = await self._read(Request(scope), receive)
            if body is None:
                return
            body = self._unpack(Request(scope), body)
        except ApiError as error:
            response: Response = problem_response(Request(scope), error)
            await response(scope, receive, send)
            return
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """The body of an upload as it comes; whoever reads too much of it gets `UploadTooLarge`."""
        length, size = Request(scope).headers.get("content-length", "0"), 0
        limit = self._max_upload + _FRAMING_BYTES
        too_large = length.isdecimal() and (len(length) > 18 or int(length) > limit)

        async def counted() -> Message:
            nonlocal size
            if too_large:
                raise UploadTooLarge(self._max_upload)
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise UploadTooLarge(self._max_upload)
            return message

        return counted

    async def _read(self, request: Request, receive: Receive) -> bytes | None:
        length, limit = request.headers.get("content-length", "0"), self._limit(request)
        if length.isdecimal() and (len(length) > 18 or int(length) > limit):
            raise BodyTooLarge
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise BodyTooLarge
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _unpack(self, request: Request, body: bytes) -> bytes:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("identity", ""):
            return body
        if encoding not in ("gzip", "x-gzip"):
            raise UnsupportedMediaType
        return gunzip(body, self._limit(request))

    def _limit(self, request: Request) -> int:
        """Bytes that the body of a request may have."""
        return self._max if request.url.path.startswith(_BULKY) else min(self._max, SMALL_BYTES)


def gunzip(data: bytes, limit: int) -> bytes:
    """Unpack gzip (RFC 1952, several members), never holding more than `limit` bytes.

    Raises:
        BodyTooLarge: it would unpack to more.
        BadEncoding: not gzip, damaged or cut off, or of more than `MAX_MEMBERS` members.
    """
    parts: list[bytes] = []
    size = 0
    while data:
        if len(parts) == MAX_MEMBERS:
            raise BadEncoding
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(data, limit - size + 1)
        except zlib.error:
            raise BadEncoding from None
        size += len(part)
        if size > limit:
            raise BodyTooLarge
        if not member.eof:
            raise BadEncoding
        parts.append(part)
        data = member.unused_data
    if not parts:
        raise BadEncoding
    return b"".join(parts)
