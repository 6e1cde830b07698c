"""Rows that end the process: found by taking a batch row by row, and quarantined unread.

No exception says which row a process died of when the parser or the memory gave out. So the first
batch after each assignment is noted in the store before it is touched. A batch that two processes
died with is taken row by row, each row noted first; a row that two processes died with is not
touched again.
"""

from collections.abc import Iterator

import structlog
from clickhouse_connect.driver.client import Client

from schemas.identity import position
from sinks import tables
from sinks.attempts import attempts_from
from streams.store import Lease, Store
from streams.transport.batch import Batch

log = structlog.get_logger(__name__)

DEATHS = 2
"""Deaths of processes after which a batch is taken row by row, and a row is left unread."""


class Suspects:
    """The attempts of one topic. `restore` runs in the thread that decides, the rest in the agent's.

    Attributes:
        condemned: positions of rows that are quarantined unread.
    """

    def __init__(self, store: Store, topic: str, epoch: int, worker: str) -> None:
        self._store = store
        self._topic = topic
        self._epoch = epoch
        self._worker = worker
        self._attempts: dict[int, dict[tuple[str, int], int]] = {}
        self.condemned: set[int] = set()

    def restore(self, client: Client, partition: int, offset: int) -> None:
        """Learn which batches and rows were begun before, from the partition's start on."""
        found = attempts_from(client, self._topic, self._epoch, partition, offset)
        self._attempts[partition] = found
        for (kind, at), count in found.items():
            if kind == "row" and count - found.get(("done", at), 0) >= DEATHS:
                self.condemned.add(position(self._epoch, partition, at))

    def is_first(self, batch: Batch) -> bool:
        """Whether this is the first batch of its partition since the assignment."""
        return batch.partition in self._attempts

    def begin(self, batch: Batch, lease: Lease) -> bool:
        """Note the partition's first batch; True when it must be taken row by row. Blocks.

        Raises:
            Abandoned: the partition was given up meanwhile.
        """
        known = self._attempts.pop(batch.partition)
        began_rows = any(kind == "row" and at < batch.next_offset for kind, at in known)
        careful = began_rows or known.get(("batch", batch.first_offset), 0) >= DEATHS
        if careful:
            log.error(
                "batch_taken_row_by_row",
                topic=batch.topic,
                partition=batch.partition,
                first=batch.first_offset,
            )
        self._note(batch, "batch", batch.first_offset, lease)
        return careful

    def rows_apart(self, batch: Batch, lease: Lease) -> Iterator[Batch]:
        """The batch as batches of one row, each noted before it is handed out. Blocks between them."""
        for part in batch.apart():
            self._note(part, "row", part.records[0].offset, lease)
            yield part

    def survived(self, part: Batch, lease: Lease) -> None:
        """Note that a row handed out by `rows_apart` was settled: no later death counts against it.

        Raises:
            Abandoned: the partition was given up meanwhile.
        """
        self._note(part, "done", part.records[0].offset, lease)

    def _note(self, batch: Batch, kind: str, offset: int, lease: Lease) -> None:
        row = {
            "topic": self._topic,
            "epoch": self._epoch,
            "partition": batch.partition,
            "offset": offset,
            "kind": kind,
            "worker": self._worker,
        }
        self._store.insert("attempts", lambda: tables.batch_of_rows("attempts", [row]), lease)
