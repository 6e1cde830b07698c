"""Waiting for a part that is away, without missing the order to stop."""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from producers.contracts import StoreUnavailable
from producers.errors import BrokerUnavailable, SourceUnavailable
from producers.metrics import POLL_FAILURES

log = structlog.get_logger(__name__)

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 15.0
_PARTS: Final[dict[type[Exception], str]] = {
    StoreUnavailable: "store",
    BrokerUnavailable: "broker",
    SourceUnavailable: "bucket",
}
Result = TypeVar("Result")


class Stopped(Exception):
    """The process is to end; what was under way is repeated at the next start."""


class Backoff:
    """Repeats calls that fail because a part is away, with growing pauses, until it works or stops."""

    def __init__(self, stop: threading.Event, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._stop = stop
        self._first_pause_s = first_pause_s

    def check(self) -> None:
        """Raise `Stopped` if the process is to end."""
        if self._stop.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait, unless the process is to end.

        Raises:
            Stopped: it is.
        """
        if self._stop.wait(seconds):
            raise Stopped

    def until_done(
        self, call: Callable[[], Result], away: tuple[type[Exception], ...], attempts: int | None = None
    ) -> Result:
        """The call's result; it is repeated while it raises one of `away`.

        Raises:
            Stopped: the process is to end.
            Exception: what the call raised at the last of `attempts` (None: no last one).
        """
        pause, tried = self._first_pause_s, 0
        while True:
            self.check()
            try:
                return call()
            except away as error:
                tried += 1
                part = next((name for kind, name in _PARTS.items() if isinstance(error, kind)), "other")
                POLL_FAILURES.labels(part).inc()
                if tried == attempts:
                    raise
                log.warning("waits_for", part=part, reason=str(error), pause_s=round(pause, 1))
            self.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
