"""Decisions about the cases of one organisation are made one after the other, over all API processes.

Threads of this process stand in line, so that at most one of them asks SQL for the lease: forty that ask
again and again keep the one from working who has it, and who comes last may be served first.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from api.db import Database
from api.errors import DecidersBusy
from api.leases import LeaseHolder

LASTS: Final = timedelta(seconds=20)
"""Of a lease: longer than a decision takes, for a process that dies in the middle of one."""
PATIENCE_S: Final = 30.0
"""How long a request waits for those before it, and for the lease of a process that died."""
_PAUSE_S: Final = 0.02
_LONGEST_ID: Final = 38


def patience() -> float:
    """Until when a request that comes now waits, moment of the monotonic clock."""
    return time.monotonic() + PATIENCE_S


class Line:
    """Threads that want the same thing, served in the order in which they came."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def turn(self, until: float) -> Iterator[None]:
        """Wait until it is the caller's turn, at most until a moment of the monotonic clock.

        Raises:
            DecidersBusy: it was not by then.
        """
        me = object()
        with self._changed:
            self._waiting.append(me)
        try:
            with self._changed:
                mine = self._changed.wait_for(lambda: self._waiting[0] is me, until - time.monotonic())
            if not mine:
                raise DecidersBusy
            yield
        finally:
            with self._changed:
                self._waiting.remove(me)
                self._changed.notify_all()


class Lines:
    """The lines of one process, by what is waited for."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, Line] = defaultdict(Line)
        self._lock = threading.Lock()

    def of(self, name: str) -> Line:
        """The line for a name."""
        with self._lock:
            return self._lines[name]


_HERE: Final = Lines()


class OneByOne:
    """Leases in SQL, taken while decisions are read, made and appended.

    ClickHouse cannot refuse a row because of another one: without this, two undos that see the same
    history take back two decisions. Decisions of conflict rules take no lease, see the order of decisions.

    Args:
        organization_ids: whose cases are decided about; taken in one order, so that nobody waits in a ring.
        lines: where threads of this process wait.
        until: how long to wait, moment of the monotonic clock; `PATIENCE_S` from now unless it is given.
    """

    def __init__(
        self,
        db: Database,
        organization_ids: Iterable[str],
        lines: Lines = _HERE,
        until: float | None = None,
    ) -> None:
        self._until = patience() if until is None else until
        names = sorted({f"decisions-{name[:_LONGEST_ID]}" for name in organization_ids})
        self._leases = [(lines.of(name), LeaseHolder(db, name, LASTS)) for name in names]
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Wait for the leases.

        Raises:
            DecidersBusy: others decide for too long.
        """
        until = self._until
        with ExitStack() as held:
            for line, lease in self._leases:
                held.enter_context(line.turn(until))
                held.callback(lease.release)
                while not lease.take():
                    if time.monotonic() > until:
                        raise DecidersBusy
                    time.sleep(_PAUSE_S)
            self._held = held.pop_all()
        return self

    def keep(self) -> None:
        """Make sure of the leases right before something is appended.

        Raises:
            DecidersBusy: this process slept for so long that somebody else has them.
        """
        if not all(lease.take() for _, lease in self._leases):
            raise DecidersBusy

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one decide."""
        self._held.close()
