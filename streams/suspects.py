"""Rows that end the process: found by taking a batch in ever smaller pieces, and quarantined unread.

No exception says which row a process died of when the parser or the memory gave out. So the first
batch after each assignment is noted in the store before it is touched. A batch that was begun twice
without an end is taken in chunks, each noted first; a chunk that was, row by row; a row that was is not
touched again. Whoever dies for another reason costs a few hundred notes, not the speed of every row.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog
from clickhouse_connect.driver.client import Client

from schemas.identity import position
from sinks import tables
from sinks.attempts import attempts_from
from streams.store import Lease, Store
from streams.transport.batch import Batch

log = structlog.get_logger(__name__)

DEATHS = 2
"""Deaths of processes after which a batch, or a chunk, is taken in smaller pieces, and a row left unread."""
CHUNK_ROWS = 500
"""Offsets of a chunk; chunks begin where this divides the offset, so they are the same for everybody."""
BATCH, CHUNK, ROW = "batch", "chunk", "row"
BATCH_DONE = "batch_done"
SURVIVED = {CHUNK: "chunk_done", ROW: "done"}


class Piece(NamedTuple):
    """What is taken in hand by itself: a chunk or a row, noted under an offset."""

    kind: str
    at: int
    batch: Batch


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
        self._open: dict[int, Counter[tuple[str, int]]] = {}
        self._begun: dict[int, int] = {}
        self.condemned: set[int] = set()

    def restore(self, client: Client, partition: int, offset: int) -> None:
        """Learn which batches, chunks and rows were begun before, from the partition's start on."""
        found = attempts_from(client, self._topic, self._epoch, partition, _chunk_of(offset))
        self._attempts[partition] = found
        ended = {(kind, at): found.get((SURVIVED[kind], at), 0) for kind, at in found if kind in SURVIVED}
        self._open[partition] = +Counter({piece: found[piece] - count for piece, count in ended.items()})
        for (kind, at), count in self._open[partition].items():
            if kind == ROW and count >= DEATHS:
                self.condemned.add(position(self._epoch, partition, at))

    def is_first(self, batch: Batch) -> bool:
        """Whether this is the first batch of its partition since the assignment."""
        return batch.partition in self._attempts

    def begin(self, batch: Batch, lease: Lease) -> bool:
        """Note the partition's first batch; True when it must be taken in pieces. Blocks.

        Raises:
            Abandoned: the partition was given up meanwhile.
        """
        known = self._attempts.pop(batch.partition)
        open_pieces = any(at < batch.next_offset for _, at in self._open[batch.partition])
        first = batch.first_offset
        careful = open_pieces or known.get((BATCH, first), 0) - known.get((BATCH_DONE, first), 0) >= DEATHS
        if careful:
            log.error(
                "batch_taken_in_pieces",
                topic=batch.topic,
                partition=batch.partition,
                first=batch.first_offset,
            )
        self._note(batch, BATCH, first, lease)
        self._begun[batch.partition] = first
        return careful

    def harmless(self, batches: Sequence[Batch], lease: Lease) -> None:
        """Note that batches in hand are decided and only held back: who ends now does not die of them.

        Raises:
            Abandoned: the partitions were given up meanwhile.
        """
        for batch in batches:
            if self._begun.get(batch.partition) == batch.first_offset:
                self._note(batch, BATCH_DONE, batch.first_offset, lease)
                del self._begun[batch.partition]

    def pieces(self, batch: Batch, lease: Lease) -> Iterator[Piece]:
        """The batch in chunks, or in rows where a chunk is suspect; each noted first. Blocks between them.

        Raises:
            Abandoned: the partition was given up meanwhile.
        """
        for part in batch.apart(CHUNK_ROWS):
            at = _chunk_of(part.records[0].offset)
            if not self._is_suspect(batch.partition, at):
                self._note(part, CHUNK, at, lease)
                yield Piece(CHUNK, at, part)
                continue
            for row in part.apart():
                self._note(row, ROW, row.records[0].offset, lease)
                yield Piece(ROW, row.records[0].offset, row)

    def _is_suspect(self, partition: int, chunk: int) -> bool:
        """Whether processes died with this chunk, or with a row of it."""
        pieces = self._open[partition]
        rows = any(kind == ROW and _chunk_of(at) == chunk for kind, at in pieces)
        return rows or pieces[CHUNK, chunk] >= DEATHS

    def survived(self, piece: Piece, lease: Lease) -> None:
        """Note that a piece was settled: no later death counts against it.

        Raises:
            Abandoned: the partition was given up meanwhile.
        """
        self._note(piece.batch, SURVIVED[piece.kind], piece.at, lease)

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


def _chunk_of(offset: int) -> int:
    return offset - offset % CHUNK_ROWS
