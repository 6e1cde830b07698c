"""One request of ClickHouse's HTTP interface: the statement, its parameters, settings and credentials."""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from sunledger.embedded.chserver.errors import AUTHENTICATION_FAILED, ClickHouseError

# Parameters of the HTTP interface itself, and settings that only steer it: not passed to the engine.
_NOT_SETTINGS = frozenset(
    {
        "query",
        "database",
        "default_format",
        "query_id",
        "user",
        "password",
        "quota_key",
        "session_id",
        "session_timeout",
        "session_check",
        "session_timezone_from_client",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "client_protocol_version",
        "role",
        "stacktrace",
        "close_session",
        "add_http_cors_header",
        "enable_http_compression",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "http_write_exception_in_output_format",
    }
)


_POCO_EXCEPTION = 1000
# ClickHouse's own limit of a parameter, in the URL or in a form (http_max_field_value_size).
_MAX_VALUE = 128 * 1024


@dataclass(frozen=True)
class Query:
    """What a request asks for, without its body."""

    sql: str
    database: str
    default_format: str
    query_id: str
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    compressed: bool = False


def parse(params: Mapping[str, str], headers: Mapping[str, str]) -> Query:
    """Read the URL parameters (form fields are merged in by the caller) and headers.

    Raises ClickHouseError when a value is longer than a real server takes.
    """
    if any(len(value) > _MAX_VALUE for value in params.values()):
        text = "HTML Form Exception: Field value too long (http_max_field_value_size)"
        raise ClickHouseError.make(_POCO_EXCEPTION, "POCO_EXCEPTION", text)
    return Query(
        sql=params.get("query", ""),
        database=params.get("database") or headers.get("x-clickhouse-database", ""),
        default_format=params.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated",
        query_id=params.get("query_id") or str(uuid.uuid4()),
        settings={
            name: value
            for name, value in params.items()
            if name not in _NOT_SETTINGS and not name.startswith("param_") and value != ""
        },
        params={name[len("param_") :]: value for name, value in params.items() if name.startswith("param_")},
        compressed=params.get("enable_http_compression") in ("1", "true"),
    )


def authenticate(params: Mapping[str, str], headers: Mapping[str, str], user: str, password: str) -> None:
    """Compare the credentials of a request with the configured ones.

    Raises ClickHouseError 516: 401 when there are none (so that browsers ask), 403 when they are wrong.
    """
    given = _credentials(params, headers)
    if given is None:
        raise _refused("default", status=401)
    # Both comparisons always run, in constant time.
    same_user = hmac.compare_digest(given[0].encode(), user.encode())
    same_password = hmac.compare_digest(given[1].encode(), password.encode())
    if not (same_user and same_password):
        raise _refused(given[0], status=403)


def _credentials(params: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str] | None:
    authorization = headers.get("authorization", "")
    if authorization[:6].lower() == "basic ":
        try:
            user, _, password = base64.b64decode(authorization[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    if "user" in params or "password" in params:
        return params.get("user", "default"), params.get("password", "")
    return None


def _refused(user: str, status: int) -> ClickHouseError:
    text = f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
    return ClickHouseError.make(AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", text, status)
