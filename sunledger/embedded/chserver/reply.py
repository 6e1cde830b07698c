"""Headers of an answer: format, counts, query id, and errors with their code."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import PlainTextResponse, Response

from sunledger.embedded.chserver.errors import ClickHouseError
from sunledger.embedded.chserver.request import Query

_DISPLAY_NAME = "sunledger-embedded"


def summary(*results: Any) -> dict[str, str]:
    """The counts of chDB results, as the X-ClickHouse-Summary header names them."""
    return {
        "read_rows": str(sum(r.storage_rows_read() for r in results)),
        "read_bytes": str(sum(r.storage_bytes_read() for r in results)),
        "written_rows": str(sum(r.rows_written() for r in results)),
        "written_bytes": str(sum(r.bytes_written() for r in results)),
        "result_rows": str(sum(r.rows_read() for r in results)),
        "result_bytes": str(sum(r.bytes_read() for r in results)),
        "elapsed_ns": str(int(max((r.elapsed() for r in results), default=0.0) * 1e9)),
    }


def headers(query: Query, output: str | None = None, totals: dict[str, str] | None = None) -> dict[str, str]:
    """The headers of an answer; `output` is the format of its rows, if it has any."""
    named = {
        "Content-Type": "text/plain; charset=UTF-8",
        "X-ClickHouse-Server-Display-Name": _DISPLAY_NAME,
        "X-ClickHouse-Query-Id": query.query_id,
        "X-ClickHouse-Timezone": "UTC",
    }
    if output is not None:
        named["X-ClickHouse-Format"] = output
    if totals is not None:
        named["X-ClickHouse-Summary"] = orjson.dumps(totals).decode()
    return named


def error_response(error: ClickHouseError, query: Query | None) -> Response:
    """An error as ClickHouse sends it: its text as body, its number in a header."""
    named = headers(query) if query else {"X-ClickHouse-Server-Display-Name": _DISPLAY_NAME}
    named["X-ClickHouse-Exception-Code"] = str(error.code)
    if error.status == 401:
        named["WWW-Authenticate"] = 'Basic realm="ClickHouse"'
    return PlainTextResponse(error.message + "\n", status_code=error.status, headers=named)
