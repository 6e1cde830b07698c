"""A turn: the batches decided together, and what was decided. Passed from step to step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from schemas.identity import OFFSET_BITS
from schemas.outcomes import Outcome
from sinks import tables
from streams.rows import Row
from streams.transport.batch import Batch


class Prepared(Protocol):
    """A batch after the steps that need no memory: decoded, resolved, validated, hashed."""

    batch: Batch
    rows: list[Row]


@dataclass(slots=True)
class Verdict:
    """What became of one row; the ledger's line about it."""

    row: Row
    outcome: Outcome
    record_id: str
    identity: int = 0
    content_hash: int = 0
    reasons: Sequence[str] = ()
    matched: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """Rows for one table, by column; `positions` names the received row behind each of them."""

    table: str
    columns: Mapping[str, Any]
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def batch(self) -> pa.RecordBatch:
        """The record batch.

        Raises:
            Refused: a value does not fit its column.
        """
        return tables.batch(self.table, self.columns)

    def part(self, first: int, last: int) -> "Fact":
        """Rows `first` up to, not including, `last`."""
        columns = {name: column[first:last] for name, column in self.columns.items()}
        return Fact(self.table, columns, self.positions[first:last])


@dataclass(slots=True)
class Decided:
    """Everything a turn writes, in the order in which it is written.

    Attributes:
        facts: fact tables first, then keys, decisions, quarantine.
        verdicts: one per received row that had no outcome yet.
        forwards: rows of other partitions' homes; sent on, not judged.
        replayed: redelivered rows that were skipped.
    """

    facts: list[Fact] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    forwards: list[tuple[Row, str]] = field(default_factory=list)
    replayed: int = 0


def positions_of(rows: Sequence[Row]) -> list[int]:
    """Positions of rows, in their order."""
    return [row.position for row in rows]


def lineage(rows: Sequence[Row], topic: str) -> dict[str, Any]:
    """The columns that say where rows came from; the partition and offset are those of the position."""
    positions = np.fromiter((row.position for row in rows), np.uint64, len(rows))
    return {
        "position": pa.array(positions),
        "dataset_id": [row.dataset_id for row in rows],
        "source": [row.source for row in rows],
        "source_ref": [row.source_ref for row in rows],
        "line": [row.line for row in rows],
        "topic": [topic] * len(rows),
        "partition": pa.array(((positions >> np.uint64(OFFSET_BITS)) & np.uint64(0xFFFF)).astype(np.uint16)),
        "offset": pa.array(positions & np.uint64((1 << OFFSET_BITS) - 1)),
        "received_at": [row.received_ms for row in rows],
        "replay_of": [row.replay_of for row in rows],
        "organization_id": [row.organization_id for row in rows],
    }


def ledger_batch(verdicts: Sequence[Verdict], topic: str, record_type: str) -> pa.RecordBatch:
    """The ledger's rows of a turn."""
    return tables.batch(
        "ledger_rows",
        {
            **lineage([verdict.row for verdict in verdicts], topic),
            "record_type": [record_type] * len(verdicts),
            "record_id": [verdict.record_id for verdict in verdicts],
            "identity": [verdict.identity for verdict in verdicts],
            "content_hash": [verdict.content_hash for verdict in verdicts],
            "outcome": [verdict.outcome.value for verdict in verdicts],
            "reasons": [verdict.reasons for verdict in verdicts],
            "matched_connection_id": [verdict.matched for verdict in verdicts],
        },
    )


def ranges_batch(
    turn: Sequence[Prepared], decided: Decided, epoch: int, worker: str, topic: str
) -> pa.RecordBatch:
    """One row per finished batch: what makes the ledger's completeness checkable.

    Every offset of a batch has a ledger row at its position unless it is lost, was forwarded (then its home
    writes that row), is itself a forwarded copy, or holds no record at all.
    """
    batches = [prepared.batch for prepared in turn]
    forwarded = _forwarded_per_batch(batches, decided)
    return tables.batch_of_rows(
        "ledger_ranges",
        [
            {
                "topic": topic,
                "epoch": epoch,
                "partition": batch.partition,
                "first_offset": batch.first_offset,
                "next_offset": batch.next_offset,
                "rows": len(batch) - forwarded[index],
                "forwarded": forwarded[index],
                "lost": batch.lost,
                "generation": batch.generation,
                "worker": worker,
                "copies": [row.record.offset for row in turn[index].rows if row.forwarded],
                "markers": _markers(batch),
            }
            for index, batch in enumerate(batches)
        ],
    )


def _markers(batch: Batch) -> list[int]:
    """Offsets of a batch that are neither lost nor a record's."""
    first = batch.first_offset + batch.lost
    if batch.next_offset - first == len(batch):
        return []
    return sorted(set(range(first, batch.next_offset)) - {record.offset for record in batch.records})


def _forwarded_per_batch(batches: Sequence[Batch], decided: Decided) -> list[int]:
    """How many forwarded rows each batch had, told by the record objects themselves."""
    forwarded = {id(row.record) for row, _ in decided.forwards}
    if not forwarded:
        return [0] * len(batches)
    return [sum(id(record) in forwarded for record in batch.records) for batch in batches]
