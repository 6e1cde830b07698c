"""The right to deal with one dataset, renewed beside the run that needs it."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import structlog

from producers.contracts import LeaseLost, StoreUnavailable
from producers.metrics import LEASES_LOST

log = structlog.get_logger(__name__)

LEASE_S: Final = 60.0
"""How long a dead poller's dataset waits for another one."""
_RENEWALS: Final = 4
"""How often a lease is renewed in the time that it lasts."""


class Lease:
    """Holds a dataset while it is entered. `check` is asked before every step of the run.

    A process that was stopped, or cut off from the store, cannot know whether it still holds the dataset:
    when the lease was not renewed in time, `check` renews it before it lets anything happen.

    Args:
        dataset_id: for the log.
        renew: takes or renews it, as `PollStore.renew`; may raise `StoreUnavailable`.
        patiently: makes a call again while it raises `StoreUnavailable`; raises when the process ends.
        lasts_s: how long it is held after a renewal, seconds.
        since: `time.monotonic()` before it was taken.
    """

    def __init__(
        self,
        dataset_id: str,
        renew: Callable[[], bool],
        patiently: Callable[[Callable[[], bool]], bool],
        lasts_s: float,
        since: float,
    ) -> None:
        self._dataset_id = dataset_id
        self._renew = renew
        self._patiently = patiently
        self._lasts_s = lasts_s
        self._sure_until = since + lasts_s
        self._lost = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"lease {dataset_id}", daemon=True)

    def check(self) -> None:
        """Return while the dataset is ours.

        Raises:
            LeaseLost: it is not.
            Stopped: the process is to end; only while the store is away.
        """
        if not self._lost and time.monotonic() >= self._sure_until:
            self._patiently(self._renewed)
        if self._lost:
            raise LeaseLost(self._dataset_id)

    def _renewed(self) -> bool:
        with self._lock:
            began = time.monotonic()
            if not self._lost and not self._renew():
                self._lost = True
                LEASES_LOST.inc()
                log.warning("lease_lost", dataset_id=self._dataset_id)
            self._sure_until = began + self._lasts_s
            return not self._lost

    def _keep(self) -> None:
        while not self._lost and not self._over.wait(self._lasts_s / _RENEWALS):
            try:
                self._renewed()
            except StoreUnavailable as error:
                log.warning("lease_not_renewed", dataset_id=self._dataset_id, error=str(error))

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Renew no more. Letting go of the dataset belongs to the end of the run."""
        self._over.set()
        self._keeper.join(self._lasts_s)
