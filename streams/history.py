"""Replays: rows that were received before and have, or nearly have, an outcome.

Recognised before anything is judged, so that a redelivery, even to newer code or with a newer
registry, cannot rewrite history.
"""

from collections.abc import Sequence

from clickhouse_connect.driver.client import Client

from schemas.identity import position
from sinks import restore
from sinks.restore import Orphan
from streams.rows import Row
from streams.store import Lease, Store
from streams.transport.batch import Batch


class History:
    """Outcomes that the ledger holds, and rows stored without one, for one topic.

    Args:
        store: reads with back-off.
        topic: full name of the topic.
        epoch: epoch of the topic.
    """

    def __init__(self, store: Store, topic: str, epoch: int) -> None:
        self._store = store
        self._topic = topic
        self._epoch = epoch
        self._high: dict[int, int] = {}
        self._orphans: dict[int, Orphan] = {}

    def restore(self, client: Client, partition: int, first_offset: int) -> None:
        """Learn of a partition what a redelivery needs; it begins at `first_offset`.

        Not only behind the ledger's last range: a row that was sent on lies in a range, too, and if its home
        died with it and partitions were added, it may be judged where it was received.
        """
        self._high[partition] = restore.ledger_high(client, self._topic, self._epoch, partition)
        above = position(self._epoch, partition, first_offset) - 1
        self._orphans.update(restore.orphans(client, self._topic, self._epoch, partition, above))

    def forget(self) -> None:
        """Nothing is owned any more."""
        self._high.clear()
        self._orphans.clear()

    def judged(self, batches: Sequence[Batch], rows: Sequence[Row], lease: Lease) -> set[int]:
        """Positions among these rows that have an outcome in the ledger."""
        known: set[int] = set()
        for batch in batches:
            first = position(self._epoch, batch.partition, batch.records[0].offset)
            last = position(self._epoch, batch.partition, batch.next_offset - 1)
            if first <= self._high.get(batch.partition, -1):
                known.update(self._range(first, last, lease))
        forwarded = [row.position for row in rows if row.forwarded]
        if forwarded:
            known.update(
                self._store.read(lambda c: restore.ledger_outcomes_of(c, self._topic, forwarded), lease)
            )
            self._orphans.update(
                self._store.read(lambda c: restore.orphans_of(c, self._topic, forwarded), lease)
            )
        return known

    def _range(self, first: int, last: int, lease: Lease) -> dict[int, str]:
        return self._store.read(lambda c: restore.ledger_outcomes(c, self._topic, first, last), lease)

    @property
    def has_orphans(self) -> bool:
        """Whether any row is stored without a ledger row, as far as the restore saw."""
        return bool(self._orphans)

    def orphan(self, at: int) -> Orphan | None:
        """A row that a fact or quarantine table holds without a ledger row; its outcome stays."""
        return self._orphans.get(at)
