"""The HTTP face: routes, bodies, results and errors as ClickHouse sends them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sunledger.embedded.chserver import compression, infile, reply, request, statement
from sunledger.embedded.chserver.body import Body
from sunledger.embedded.chserver.errors import READONLY, TIMEOUT_EXCEEDED, ClickHouseError
from sunledger.embedded.chserver.pool import Pool, Session
from sunledger.embedded.chserver.request import Query

logger = logging.getLogger(__name__)

# Less than this is no wait: other settings than before cost a statement of their own.
_SHORT_WAIT_S = 0.2

# Up to here a result is held back, so that a late error still gets its status code.
_HELD_BYTES = 4 * 1024 * 1024
# Copying and compressing this much takes less time than handing it to a thread and back.
_SMALL_BYTES = 64 * 1024


class App:
    """An ASGI application; make it inside a running event loop."""

    def __init__(self, data_dir: Path, user: str, password: str) -> None:
        infile.clear(data_dir)
        self._pool = Pool(data_dir)
        self._data_dir = data_dir
        self._user = user
        self._password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        http = Request(scope, receive)
        with contextlib.suppress(ClientDisconnect):
            response = await self._respond(http)
            await response(scope, receive, send)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    async def _respond(self, http: Request) -> Response:
        params = dict(http.query_params)
        if http.url.path in ("/ping", "/replicas_status"):
            return PlainTextResponse("Ok.\n")
        query: Query | None = None
        try:
            if http.url.path == "/" and http.method == "GET" and not params:
                return PlainTextResponse("Ok.\n")
            if http.url.path not in ("/", "/query"):
                return PlainTextResponse(f"There is no handle {http.url.path}\n", status_code=404)
            request.authenticate(params, http.headers, self._user, self._password)
            query = request.parse(params, http.headers)
            return await self._execute(http, query)
        except ClickHouseError as error:
            return reply.error_response(error, query)

    async def _execute(self, http: Request, query: Query) -> Response:
        if http.headers.get("content-type", "").startswith("multipart/form-data"):
            query = await _merge_form(http, query)
            body = Body.empty()
        else:
            body = Body.of(http)
        head = await body.head()
        # The statement may stand in the URL, in the body, or begin in the URL and go on in the body.
        text = (query.sql.encode() + b"\n" + head) if query.sql else head
        word = statement.keyword(text)
        if http.method in ("GET", "HEAD") and not statement.is_read_only(word):
            raise ClickHouseError.make(
                READONLY, "READONLY", "Cannot execute query in readonly mode: use POST"
            )
        if word == "INSERT":
            insert = statement.parse_insert(text)
            if insert is not None:
                _refuse(insert.sql)
                return await self._insert(query, insert, text[insert.data_start :], body)
        try:
            sql = (text + await body.rest()).decode()
        except UnicodeDecodeError as error:
            raise ClickHouseError.make(62, "SYNTAX_ERROR", f"Statement is not UTF-8: {error}") from None
        if not sql.strip():
            raise ClickHouseError.make(62, "SYNTAX_ERROR", "Syntax error: empty query")
        _refuse(sql)
        return await self._query(http, replace(query, sql=sql), word)

    async def _insert(self, query: Query, insert: statement.Insert, first: bytes, body: Body) -> Response:
        settings = {"async_insert": "0", **query.settings}
        # rows of a body that is cut off never get as far as the engine
        with infile.written(self._data_dir) as file:
            file.write(first)
            async for piece in body.chunks():
                file.write(piece)
            file.flush()
            taken = time.monotonic()
            async with self._pool.session(insert=True) as session:
                settings = _after(time.monotonic() - taken, settings)
                result = await self._pool.run(_insert_file, session, query, settings, insert, file.name)
        return Response(b"", headers=reply.headers(query, totals=reply.summary(result)))

    async def _query(self, http: Request, query: Query, word: str) -> Response:
        with_result = statement.has_result(word)
        output = statement.result_format(query.sql, query.default_format)
        accepted = http.headers.get("accept-encoding", "") if query.compressed else ""
        encoding = compression.choose(accepted) if accepted else None
        if statement.can_stream(word, output):
            return await self._stream(query, output, encoding)
        async with self._pool.session(insert=False) as session:
            result = await self._pool.run(_run, session, query, word)
        headers = reply.headers(query, output if with_result else None, reply.summary(result))
        data = result.bytes()
        if encoding and data:
            headers["Content-Encoding"] = encoding
            data = await self._pool.run(_compress, encoding, data)
        return Response(data, headers=headers)

    async def _stream(self, query: Query, output: str, encoding: str | None) -> Response:
        """Hold the beginning back, then send what comes as it comes, without blocking other queries."""
        chunks = self._batches(query)
        held = await anext(chunks)
        size = sum(chunk.size() for chunk in held)
        complete = size < _HELD_BYTES
        if complete:
            await chunks.aclose()
        compressor = compression.Compressor(encoding) if encoding and held else None
        headers = reply.headers(query, output)
        if compressor is not None:
            headers["Content-Encoding"] = str(encoding)
        if complete:
            headers["X-ClickHouse-Summary"] = orjson.dumps(reply.summary(*held)).decode()
            small = size < _SMALL_BYTES
            data = _join(held, compressor) if small else await self._pool.run(_join, held, compressor)
            return Response(data, headers=headers)
        tag = secrets.token_hex(8)
        headers["X-ClickHouse-Exception-Tag"] = tag
        return StreamingResponse(self._send(held, chunks, compressor, tag), headers=headers)

    async def _send(
        self,
        held: list[Any],
        batches: AsyncIterator[list[Any]],
        compressor: compression.Compressor | None,
        tag: str,
    ) -> AsyncIterator[bytes]:
        def encode(data: bytes) -> bytes:
            return compressor.feed(data) if compressor else data

        try:
            for chunk in held:
                yield await self._pool.run(encode, chunk.bytes())
            held.clear()
            async for batch in batches:
                for chunk in batch:
                    yield await self._pool.run(encode, chunk.bytes())
        except ClickHouseError as error:
            # The status line is gone: ClickHouse's own way of saying it inside the body.
            yield encode(f"\r\n__exception__\r\n{tag}\r\n{error.message}\r\n".encode())
            yield encode(f"{len(error.message.encode()) + 2} {tag}\r\n__exception__\r\n".encode())
        if compressor is not None:
            yield compressor.end()

    async def _batches(self, query: Query) -> AsyncGenerator[list[Any]]:
        """The result in batches of chunks of some 4 MiB; the first may be the only one, and empty."""
        async with self._pool.session(insert=False) as session:
            try:
                stream, batch = await self._pool.run(_begin_query, session, query)
                if stream is not None:
                    try:
                        yield batch
                        while batch := await self._pool.run(_fetch, stream):
                            yield batch
                    finally:
                        await asyncio.shield(self._pool.run(stream.close))
            except asyncio.CancelledError:
                await asyncio.shield(self._pool.kill(session))
                raise
        if stream is None:  # the session is free again: whoever reads no further does not end it
            yield batch


def _refuse(sql: str) -> None:
    """Raise ClickHouseError for a statement that no server would run over HTTP."""
    if (refused := statement.refusal(sql.encode())) is not None:
        raise ClickHouseError.make(62, "SYNTAX_ERROR", refused)


def _after(waited_s: float, settings: dict[str, str]) -> dict[str, str]:
    """Settings of an insert that waited for a connection: its time limit began when it came.

    Whoever takes a worker's partitions over counts on that (docs/decisions/0034); a real server has no such
    queue. Raises ClickHouseError when the time is over.
    """
    limit_s = float(settings.get("max_execution_time") or 0)
    if not limit_s or waited_s < _SHORT_WAIT_S:
        return settings
    if waited_s >= limit_s:
        text = f"Timeout exceeded: waited {waited_s:.1f} s for a connection, maximum: {limit_s:g} s"
        raise ClickHouseError.make(TIMEOUT_EXCEEDED, "TIMEOUT_EXCEEDED", text)
    return {**settings, "max_execution_time": f"{limit_s - waited_s:.3f}"}


def _run(session: Session, query: Query, word: str) -> Any:
    session.enter(query.database, query.settings)
    return session.run(query.sql, word, query.default_format, query.params)


def _begin_query(session: Session, query: Query) -> tuple[Any | None, list[Any]]:
    """The first batch of a result, and where the rest comes from; None when that was all of it."""
    session.enter(query.database, query.settings)
    stream = session.connection.send_query(query.sql, query.default_format, params=dict(query.params))
    batch = _fetch(stream)
    if sum(chunk.size() for chunk in batch) >= _HELD_BYTES:
        return stream, batch
    stream.close()
    return None, batch


def _fetch(stream: Any) -> list[Any]:
    batch: list[Any] = []
    size = 0
    while size < _HELD_BYTES and (chunk := stream.fetch()) is not None:
        batch.append(chunk)
        size += chunk.size()
    return batch


def _insert_file(
    session: Session, query: Query, settings: dict[str, str], insert: statement.Insert, path: str
) -> Any:
    session.enter(query.database, settings)
    return session.connection.query(insert.from_file(path))


def _compress(encoding: str, data: bytes) -> bytes:
    compressor = compression.Compressor(encoding)
    return compressor.feed(data) + compressor.end()


def _join(chunks: list[Any], compressor: compression.Compressor | None) -> bytes:
    data = b"".join(chunk.bytes() for chunk in chunks)
    return data if compressor is None else compressor.feed(data) + compressor.end()


async def _merge_form(http: Request, query: Query) -> Query:
    """clickhouse-connect sends long parameters as form fields. External tables are not supported."""
    kind = http.headers["content-type"].encode()
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind + b"\r\n\r\n" + await http.body())
    fields: dict[str, str] = {}
    for field in message.iter_parts():
        if field.get_filename() is not None:
            text = "External tables are not supported by the embedded server"
            raise ClickHouseError.make(48, "NOT_IMPLEMENTED", text)
        name = field.get_param("name", header="content-disposition")
        fields[str(name)] = bytes(field.get_payload(decode=True) or b"").decode()
    merged = request.parse({**dict(http.query_params), **fields}, http.headers)
    return replace(merged, query_id=query.query_id)
