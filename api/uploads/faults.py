"""Faults of ours in the thread of uploads: told in the log without their message, which may quote a row."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from producers.backoff import Stopped
from producers.contracts import StoreUnavailable

log = structlog.get_logger(__name__)


class Unexpected(Exception):
    """Something failed that nobody foresaw, and is in the log; its text is the name of the error alone."""


@contextmanager
def told(event: str, **known: str) -> Iterator[None]:
    """Log a fault by class and place, with what is known of it.

    Raises:
        Unexpected: in place of any fault that was not foreseen.
        Stopped, StoreUnavailable: as they came.
    """
    try:
        yield
    except (Stopped, StoreUnavailable, Unexpected):
        raise
    except Exception as error:  # noqa: BLE001 - told, and tried again; the thread must go on
        log.error(event, error=type(error).__name__, where=place_of(error), **known)
        raise Unexpected(type(error).__name__) from None


@contextmanager
def kept(faults: list[Unexpected]) -> Iterator[None]:
    """Put a fault that was told aside, so that what follows is still done."""
    try:
        yield
    except Unexpected as fault:
        faults.append(fault)


def place_of(error: BaseException) -> str:
    """Function and line in which an error was raised."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    return f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else ""
