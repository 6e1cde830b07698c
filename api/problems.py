"""Turns every failure, ours or the framework's, into one problem answer."""

import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from api import errors
from api.errors import ApiError, FieldProblem, Invalid, MalformedBody, StoreAway

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_BY_STATUS: dict[int, type[ApiError]] = {
    400: MalformedBody,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMediaType,
}
# Messages of these kinds quote the input, so only their code is told.
_QUOTING = {
    "value_error": "The value breaks a rule of this field.",
    "assertion_error": "The value breaks a rule of this field.",
    "union_tag_invalid": "The value is not one of those expected.",
    "extra_forbidden": "There is no such field.",
}


def problem_response(request: Request, error: ApiError) -> Response:
    """The answer to an error."""
    request_id = getattr(request.state, "request_id", "")
    return JSONResponse(
        error.problem(request_id), error.status, error.headers, media_type="application/problem+json"
    )


def field_problems(faults: Iterable[Any]) -> list[FieldProblem]:
    """Pydantic's faults, without the input and without names that are not ours."""
    return [
        FieldProblem(
            field=".".join(shown(part) for part in fault["loc"]) or "body",
            code=str(fault["type"]),
            detail=_detail(fault),
        )
        for fault in list(faults)[:100]
    ]


def shown(part: Any) -> str:
    """A part of a field's path, if it may be repeated: what is no name may be somebody's data."""
    return str(part) if isinstance(part, int) or _NAME.fullmatch(str(part)) else "(unreadable name)"


def _detail(fault: Any) -> str:
    """Our own validators raise `PydanticCustomError`, whose messages are fixed texts."""
    kind = str(fault["type"])
    return _QUOTING.get(kind) or str(fault["msg"])


def install(app: FastAPI) -> None:
    """Register the handlers on an application."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101 - the registration below says so
        return problem_response(request, error)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        known = _BY_STATUS.get(error.status_code, errors.InternalError)()
        known.headers.update(error.headers or {})
        return problem_response(request, known)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        faults = error.errors()
        if any(fault["type"] == "json_invalid" for fault in faults):
            return problem_response(request, MalformedBody())
        return problem_response(request, Invalid(errors=field_problems(faults)))

    async def store(request: Request, _error: Exception) -> Response:
        return problem_response(request, StoreAway())

    app.add_exception_handler(ApiError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(kind, store)
