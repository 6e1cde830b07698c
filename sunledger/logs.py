"""Logging of every process: structlog, one JSON object a line, to standard error.

Exceptions are logged by kind and place, never by message: a message may quote a row, and rows hold
personal data.
"""

import logging
import sys
from types import TracebackType
from typing import Any

import structlog

_QUIET = ("aiokafka", "faust", "mode", "urllib3", "botocore", "boto3", "uvicorn.access", "alembic", "httpx")


def configure(level: str, form: str) -> None:
    """Set up logging for this process; `form` is `json` or `console`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _no_messages_of_exceptions,
        _exception_place,
    ]
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _no_messages_of_exceptions(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """mode writes `reason=<repr of an exception>` into its lines: the repr is cut off."""
    text = event.get("event")
    if isinstance(text, str) and text.startswith("[^"):
        for mark in ("reason=", "Error: ", "raised: ", "exception: "):
            text = text.split(mark)[0]
        event["event"] = text
    return event


def _exception_place(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Replace an exception by its kind and the line that raised it."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[0] is not None:
        event["error"] = info[0].__name__
        event["where"] = _where(info[2])
    return event


def _where(trace: TracebackType | None) -> str:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 2)[-1]}:{trace.tb_lineno}"
