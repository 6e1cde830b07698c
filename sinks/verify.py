"""What the verifier asks about the ledger's ranges; about rows it asks `verify_rows`.

Most questions are about a slice: offsets of one partition of one life (epoch) of a topic. Everything here may
raise the driver's exceptions; `errors.classify` sorts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from schemas.identity import position

LOOKBACK: Final = 1 << 20
"""Offsets before a slice at which ranges that reach into it are looked for, when the slice is new: a batch is
shorter. Ranges are ordered by their first offset, so that this keeps the question cheap."""
REACHING: Final = (
    "topic = {topic:String} AND epoch = {epoch:UInt8} AND partition = {partition:UInt16}"
    " AND first_offset < {next:UInt64} AND next_offset > {first:UInt64}"
)
"""Condition of ranges that reach into a slice."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Offsets `first` up to, not including, `next_offset` of a partition; `topic` is the full name."""

    topic: str
    epoch: int
    partition: int
    first: int
    next_offset: int

    def parameters(self) -> dict[str, Any]:
        """Query parameters, positions included."""
        base = position(self.epoch, self.partition, 0)
        return {
            "topic": self.topic,
            "epoch": self.epoch,
            "partition": self.partition,
            "first": self.first,
            "next": self.next_offset,
            "low": base + self.first,
            "high": base + self.next_offset,
        }


@dataclass(frozen=True, slots=True, order=True)
class RangeRow:
    """One finished batch as the table has it; `copies` and `markers` are numbers of offsets.

    Attributes:
        within: every copy and marker lies in the range and behind what is lost.
    """

    first: int
    next_offset: int
    rows: int
    forwarded: int
    lost: int
    copies: int
    markers: int
    within: bool


class RangeNotes(NamedTuple):
    """What a range says of single offsets."""

    first: int
    next_offset: int
    lost: int
    copies: Sequence[int]
    markers: Sequence[int]


class Reach(NamedTuple):
    """First and next offset of a partition's ranges."""

    epoch: int
    partition: int
    first: int
    next_offset: int


def reaches(client: Client, topic: str) -> list[Reach]:
    """How far the ranges of each partition go, of every epoch. Reads all ranges of the topic."""
    rows = client.query(
        "SELECT epoch, partition, min(first_offset), max(next_offset) FROM ledger_ranges"
        " WHERE topic = {topic:String} GROUP BY epoch, partition ORDER BY epoch, partition",
        parameters={"topic": topic},
    ).result_rows
    return [Reach(*row) for row in rows]


def reached(client: Client, topic: str, epoch: int, partition: int, verified: int) -> int | None:
    """Greatest next offset of ranges that begin not far before `verified`; None when there is none."""
    rows = client.query(
        "SELECT maxOrNull(next_offset) FROM ledger_ranges WHERE topic = {topic:String}"
        " AND epoch = {epoch:UInt8} AND partition = {partition:UInt16} AND first_offset >= {since:UInt64}",
        parameters={
            "topic": topic,
            "epoch": epoch,
            "partition": partition,
            "since": max(0, verified - LOOKBACK),
        },
    ).result_rows
    return None if rows[0][0] is None else int(rows[0][0])


def first_range(client: Client, topic: str, epoch: int, partition: int) -> int | None:
    """First offset of a partition's first range; None when there is no range."""
    rows = client.query(
        "SELECT first_offset FROM ledger_ranges WHERE topic = {topic:String} AND epoch = {epoch:UInt8}"
        " AND partition = {partition:UInt16} ORDER BY first_offset LIMIT 1",
        parameters={"topic": topic, "epoch": epoch, "partition": partition},
    ).result_rows
    return int(rows[0][0]) if rows else None


def ranges(client: Client, where: Slice, *, thorough: bool) -> list[RangeRow]:
    """Ranges that reach into a slice, by first offset; not `thorough`: those that begin `LOOKBACK` before."""
    since = 0 if thorough else max(0, where.first - LOOKBACK)
    rows = client.query(
        "SELECT first_offset, next_offset, rows, forwarded, lost, length(copies), length(markers),"
        " arrayAll(x -> x >= first_offset + lost AND x < next_offset, arrayConcat(copies, markers))"
        f" FROM ledger_ranges WHERE {REACHING} AND first_offset >= {{since:UInt64}}"
        " ORDER BY first_offset, next_offset",
        parameters={**where.parameters(), "since": since},
    ).result_rows
    return [RangeRow(*row) for row in rows]


def notes(client: Client, where: Slice) -> list[RangeNotes]:
    """What the ranges that reach into a slice say of single offsets."""
    rows = client.query(
        f"SELECT first_offset, next_offset, lost, copies, markers FROM ledger_ranges WHERE {REACHING}",
        parameters=where.parameters(),
    ).result_rows
    return [RangeNotes(*row) for row in rows]
