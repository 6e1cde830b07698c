"""What is restored for newly assigned partitions, before anything of them is judged."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog
from clickhouse_connect.driver.client import Client

from schemas.topics import HOMES
from sinks import restore
from streams.history import History
from streams.index import PaymentIndex, ReadIndex
from streams.metrics import INDEX_KEYS
from streams.store import Abandoned, Store
from streams.suspects import Suspects
from streams.transport.thread import Start

log = structlog.get_logger(__name__)

LEDGER_PAUSE_S = 1.0


class LoadIndex(Protocol):
    """Loads the keys of some homes into an index; returns how many the index holds then."""

    def __call__(self, client: Client, homes: list[int]) -> int:
        """Load; may raise the driver's exceptions, and may be called again after that."""


class Restorer:
    """Restores a topic's index and history in the thread that decides.

    A restore is refused while the ledger is not complete up to the committed offset: it would read
    from a replica that lags, and take what it does not see for new.
    """

    def __init__(
        self,
        store: Store,
        history: History,
        load: LoadIndex,
        topic: str,
        epoch: int,
        partitions: Callable[[], int],
        suspects: Suspects,
    ) -> None:
        self._store = store
        self._history = history
        self._load = load
        self._topic = topic
        self._epoch = epoch
        self._partitions = partitions
        self._suspects = suspects
        self._pause = threading.Event()

    def __call__(self, partitions: Mapping[int, Start], owned: Callable[[], bool]) -> None:
        """Restore; returns early when the partitions are not owned any more."""
        lease = _WhileOwned(owned)
        self._history.forget()
        try:
            for partition, start in partitions.items():
                self._await_ledger(partition, start, lease)
            count = self._partitions()
            homes = [home for home in range(HOMES) if home % count in partitions]
            keys = self._store.read(lambda client: self._load(client, homes), lease)
            # After the index: what an insert of the former owner makes visible in between would otherwise be
            # a known key, but no row without an outcome, and be taken for a duplicate of itself.
            for partition, start in partitions.items():
                self._store.read(
                    lambda c, p=partition, s=start: self._history.restore(c, p, s.offset),  # type: ignore[misc]
                    lease,
                )
                self._store.read(
                    lambda c, p=partition, s=start: self._suspects.restore(c, p, s.offset),  # type: ignore[misc]
                    lease,
                )
        except Abandoned:
            return
        INDEX_KEYS.labels(self._topic).set(keys)
        log.info("restored", topic=self._topic, partitions=len(partitions), keys=keys)

    def _await_ledger(self, partition: int, start: Start, lease: "_WhileOwned") -> None:
        """Return once the ledger's ranges reach the committed offset."""
        while True:
            found = self._store.read(
                lambda c: restore.ledger_next_offset(c, self._topic, self._epoch, partition), lease
            )
            if found is None and (start.committed is None or start.committed <= start.log_start):
                # nothing was ever stored, and the broker has nothing below the commit: the partition
                # was handed over untouched
                return
            if found is not None and (start.committed is None or found >= start.committed):
                return
            log.error(
                "ledger_behind_commit",
                topic=self._topic,
                partition=partition,
                ledger=found,
                committed=start.committed,
            )
            self._pause.wait(LEDGER_PAUSE_S)


class _WhileOwned:
    """The lease of a restore: it only reads, so owning the partitions is enough."""

    giving_up = False

    def __init__(self, owned: Callable[[], bool]) -> None:
        self._owned = owned

    def renew(self) -> None:
        if not self._owned():
            raise Abandoned


def load_payments(index: PaymentIndex) -> LoadIndex:
    """Loads the keys of payments; homes kept from an earlier assignment read only what came since."""

    def load(client: Client, homes: list[int]) -> int:
        read_at_ms = restore.server_now_ms(client)
        for part in restore.stream_keys(client, homes, index.watermarks(homes)):
            index.load(part.home, part.identities, part.contents, part.positions)
        index.restored(homes, read_at_ms)
        return len(index)

    return load


def load_reads(index: ReadIndex) -> LoadIndex:
    """Loads the greatest end of every device and type."""

    def load(client: Client, homes: Iterable[int]) -> int:
        high = restore.read_high_water(client, list(homes))
        index.load(
            dict(zip(zip(high.device_ids, high.types, strict=True), high.ends_ms.tolist(), strict=True))
        )
        return len(index)

    return load
