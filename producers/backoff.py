"""Waiting for a part that is away, without missing the order to stop."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """Repeats calls that fail because a part is away, with growing pauses, until it works or stops.

    A pause is shortened by up to a half at random, so that those who failed together do not come back
    together.

    Attributes:
        moved_at: `time.monotonic()` of the last sign of life: the last `check`.
    """

    def __init__(self, stop: threading.Event, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._stop = stop
        self._first_pause_s = first_pause_s
        self._guard: Callable[[], None] | None = None
        self.moved_at = time.monotonic()

    def check(self) -> None:
        """Return if the work may go on; asked before every step.

        Raises:
            Stopped: the process is to end.
            Exception: what the guard raises.
        """
        self.moved_at = time.monotonic()
        if self._stop.is_set():
            raise Stopped
        if self._guard:
            self._guard()

    @contextmanager
    def guarded(self, guard: Callable[[], None]) -> Iterator[None]:
        """Meanwhile `check` calls `guard` too, such as `Lease.check`."""
        self._guard = guard
        try:
            yield
        finally:
            self._guard = None

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
            self.pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, hides nothing
            pause = min(pause * 2, LONGEST_PAUSE_S)
