"""Looks at offsets of one partition: the ranges over them, then the rows inside these, in this order."""

from collections.abc import Mapping, Sequence
from typing import Final

from clickhouse_connect.driver.client import Client

from sinks import verify, verify_rows
from sinks.verify import RangeRow, Slice
from sinks.verify_rows import Found
from streams.verify import ranges as logic
from streams.verify.findings import Finding, Kind, Partition, Span
from streams.verify.losses import count
from streams.verify.rows import IN_FLIGHT, QUESTIONS

_OF_RANGES: Final = frozenset({Kind.GAP, Kind.MISCOUNT, Kind.CONTRADICTION, Kind.LOST})


class Examiner:
    """Asks the store about slices. May raise the driver's exceptions.

    Args:
        tables: full name of a topic → the table that has its versions.
        losses: offsets that are known to be lost.
    """

    def __init__(self, tables: Mapping[str, str], losses: Mapping[Partition, Sequence[Span]]) -> None:
        self._tables = tables
        self._losses = losses

    def look(
        self, client: Client, partition: Partition, first: int, end: int, *, thorough: bool
    ) -> list[Finding]:
        """Everything that is wrong, or looks wrong, in offsets `first` up to `end` that are finished."""
        where = Slice(partition.topic, partition.epoch, partition.number, first, end)
        ranges = verify.ranges(client, where, thorough=thorough)
        found = self._ranges(client, partition, where, ranges)
        kinds = [Kind.NO_OUTCOME, *QUESTIONS]
        rows = [self._rows(client, kind, partition, where, ranges, thorough) for kind in kinds]
        return found + [finding for finding in rows if finding is not None]

    def again(self, client: Client, finding: Finding) -> Finding | None:
        """What is still wrong of a finding; None when nothing is. Asks thoroughly."""
        partition = finding.partition
        where = Slice(partition.topic, partition.epoch, partition.number, finding.first, finding.next_offset)
        ranges = verify.ranges(client, where, thorough=True)
        if finding.kind in _OF_RANGES:
            found = self._ranges(client, partition, where, ranges)
            return next((f for f in found if f.kind is finding.kind), None)
        return self._rows(client, finding.kind, partition, where, ranges, True)

    def head(self, client: Client, partition: Partition, first: int, log_start: int | None) -> Finding | None:
        """Offsets before the first range that were received all the same: the log or the ledger has them."""
        where = Slice(partition.topic, partition.epoch, partition.number, 0, first)
        judged = verify_rows.first_row(client, where)
        begin = min(offset for offset in (judged, log_start, first) if offset is not None)
        return self._gap(partition, [(begin, first)]) if begin < first else None

    # -- ranges

    def _ranges(
        self, client: Client, partition: Partition, where: Slice, ranges: Sequence[RangeRow]
    ) -> list[Finding]:
        found = [
            self._gap(partition, logic.gaps(ranges, where.first, where.next_offset)),
            self._lost(client, partition, where, ranges),
            self._contradiction(client, partition, where, ranges),
            _miscount(partition, [r for r in logic.miscounted(ranges) if r.first >= where.first]),
        ]
        return [finding for finding in found if finding is not None]

    def _gap(self, partition: Partition, spans: Sequence[Span]) -> Finding | None:
        return _finding(Kind.GAP, partition, self._unknown(partition, spans))

    def _lost(
        self, client: Client, partition: Partition, where: Slice, ranges: Sequence[RangeRow]
    ) -> Finding | None:
        gone = self._unknown(partition, logic.lost(ranges, where.first, where.next_offset))
        if not gone:
            return None
        # lost to a redelivery that retention overtook: judged before
        left = count(gone) - verify_rows.judged_among(client, where, gone)
        return _finding(Kind.LOST, partition, gone, left) if left else None

    def _contradiction(
        self, client: Client, partition: Partition, where: Slice, ranges: Sequence[RangeRow]
    ) -> Finding | None:
        shared = logic.overlaps(ranges)
        if not shared:
            return None
        disputed = logic.contradictions(verify.notes(client, where))
        mine = [(at, at + 1) for at in disputed if where.first <= at < where.next_offset]
        return _finding(Kind.CONTRADICTION, partition, mine)

    def _unknown(self, partition: Partition, spans: Sequence[Span]) -> list[Span]:
        return logic.without(spans, self._losses.get(partition, ()))

    # -- rows

    def _rows(
        self,
        client: Client,
        kind: Kind,
        partition: Partition,
        where: Slice,
        ranges: Sequence[RangeRow],
        thorough: bool,
    ) -> Finding | None:
        found = self._ask(client, kind, partition, where, ranges, thorough)
        if found is None:
            return None
        sent_on = sum(r.forwarded for r in ranges)
        return Finding(
            kind,
            partition,
            found.first,
            found.last + 1,
            found.number,
            in_flight=kind in IN_FLIGHT and found.number <= sent_on,
        )

    def _ask(
        self,
        client: Client,
        kind: Kind,
        partition: Partition,
        where: Slice,
        ranges: Sequence[RangeRow],
        thorough: bool,
    ) -> Found | None:
        if kind is not Kind.NO_OUTCOME:
            return QUESTIONS[kind](client, where, self._tables[partition.topic], thorough)
        spans = self._unknown(partition, logic.read(ranges, where.first, where.next_offset))
        return verify_rows.unjudged(client, where, spans) if spans else None


def _finding(
    kind: Kind, partition: Partition, spans: Sequence[Span], wrong: int | None = None
) -> Finding | None:
    if not spans:
        return None
    first, end = min(spans)[0], max(end for _, end in spans)
    return Finding(kind, partition, first, end, count(spans) if wrong is None else wrong)


def _miscount(partition: Partition, ranges: Sequence[RangeRow]) -> Finding | None:
    if not ranges:
        return None
    first, end = min(r.first for r in ranges), max(r.next_offset for r in ranges)
    return Finding(Kind.MISCOUNT, partition, first, end, len(ranges))
