"""Decisions about the cases of one organisation are made one after the other, over all API processes."""

import time
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from api.db import Database
from api.errors import DecidersBusy
from api.leases import LeaseHolder

LASTS: Final = timedelta(seconds=30)
"""Of a lease: longer than a decision takes, for a process that dies in the middle of one."""
PATIENCE_S: Final = 10.0
"""How long a request waits for those before it."""
_PAUSE_S: Final = 0.05
_LONGEST_ID: Final = 38


class OneByOne:
    """Leases in SQL, taken while decisions are read, made and appended.

    ClickHouse cannot refuse a row because of another one: without this, two undos that see the same
    history take back two decisions. Decisions of conflict rules take no lease, see the order of decisions.

    Args:
        organization_ids: whose cases are decided about; taken in one order, so that nobody waits in a ring.
    """

    def __init__(self, db: Database, organization_ids: Iterable[str]) -> None:
        names = sorted({f"decisions-{name[:_LONGEST_ID]}" for name in organization_ids})
        self._leases = [LeaseHolder(db, name, LASTS) for name in names]

    def __enter__(self) -> Self:
        """Wait for the leases.

        Raises:
            DecidersBusy: somebody else holds one for too long.
        """
        end = time.monotonic() + PATIENCE_S
        try:
            for lease in self._leases:
                while not lease.take():
                    if time.monotonic() > end:
                        raise DecidersBusy
                    time.sleep(_PAUSE_S)
        except BaseException:
            self._release()
            raise
        return self

    def keep(self) -> None:
        """Make sure of the leases right before something is appended.

        Raises:
            DecidersBusy: this process slept for so long that somebody else has them.
        """
        if not all(lease.take() for lease in self._leases):
            raise DecidersBusy

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one decide."""
        self._release()

    def _release(self) -> None:
        for lease in self._leases:
            lease.release()
