"""The lease of batches in hand: the group knows this worker as their owner, or nothing is written."""

import threading
from collections.abc import Sequence

import structlog

from streams.store import Abandoned
from streams.transport.batch import Batch
from streams.transport.consumer import BatchConsumer

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 0.05


class GroupLease:
    """Valid while the batches' assignment stands and the last heartbeat is younger than the session.

    Instead of ending itself, a worker whose heartbeats go unanswered waits here: if the group still
    knows it afterwards it goes on, if its partitions went elsewhere it drops what it has in hand.
    """

    def __init__(self, consumer: BatchConsumer, batches: Sequence[Batch], session_timeout_s: float) -> None:
        self._consumer = consumer
        self._batches = batches
        self._session_timeout_s = session_timeout_s
        self._pause = threading.Event()

    @property
    def giving_up(self) -> bool:
        """See `streams.store.Lease`."""
        return self._consumer.giving_up

    def renew(self) -> None:
        """See `streams.store.Lease`."""
        waited = False
        while all(batch.owned for batch in self._batches):
            if self._consumer.silence_s < self._session_timeout_s:
                return
            if not waited:
                log.warning("waiting_for_heartbeat", silence_s=round(self._consumer.silence_s, 1))
                waited = True
            self._pause.wait(LOOK_AGAIN_S)
        raise Abandoned
