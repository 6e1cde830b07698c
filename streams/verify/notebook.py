"""Findings from suspicion to report: looked at again before they are faults, and until they are mended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from streams.verify import metrics
from streams.verify.findings import MEANING, Finding
from streams.verify.losses import loss_text

log = structlog.get_logger(__name__)

AT_ONCE: Final = 100
"""Most entries of a topic that are looked at again in one pass; the others take their turn."""

Ends = Mapping[int, int]
"""Partition → offset."""


@dataclass(slots=True)
class Entry:
    """A suspicion, or a fault once it is confirmed.

    Attributes:
        horizon: where the topic's logs ended when it was noted, None when that says nothing. A forwarded
            copy that explains the finding was in its log by then.
    """

    finding: Finding
    horizon: Ends | None
    confirmed: bool = False


class Notebook:
    """Open suspicions and faults of all topics; logs when a fault is confirmed and when it is mended."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def note(self, findings: Iterable[Finding], epoch: int, ends: Ends) -> None:
        """Write new findings of a topic down; what a fault says already makes that fault wider.

        Args:
            epoch: the topic's present epoch.
            ends: where its logs end, read after the findings were made.
        """
        for finding in findings:
            present = finding.partition.epoch == epoch
            if finding.in_flight and not present:
                continue  # the log that a forwarded row would be in is gone: nobody can tell any more
            horizon = ends if present else None
            fault = self._same_fault(finding)
            if fault is None:
                self._entries.append(Entry(finding, horizon))
            else:
                fault.finding = _wider(fault.finding, finding)

    def due(self, topic: str) -> list[Entry]:
        """What of a topic is to be looked at again now; entries that were due go to the end of the queue."""
        mine = [entry for entry in self._entries if entry.finding.partition.topic == topic][:AT_ONCE]
        taken = set(map(id, mine))
        self._entries = [entry for entry in self._entries if id(entry) not in taken] + mine
        return mine

    def looked(self, entry: Entry, found: Finding | None, covered: Ends, starts: Ends) -> None:
        """What is left of an entry.

        Args:
            covered: partition → next offset of its ranges, read before the second look: what was judged
                by then has been seen by it.
            starts: partition → start of the log; nothing below it waits to be judged.
        """
        if found is None:
            self._entries = [other for other in self._entries if other is not entry]
            if entry.confirmed:
                log.info("verify_fault_mended", **_fields(entry.finding))
            return
        entry.finding = found
        if entry.confirmed or (found.in_flight and not _passed(entry.horizon, covered, starts)):
            return
        entry.confirmed = True
        self._entries = [
            other for other in self._entries if other is entry or not _inside(other.finding, found)
        ]
        metrics.FAULTS.labels(found.partition.topic, found.kind.value).inc()
        log.error("verify_fault", meaning=MEANING[found.kind], **_fields(found))

    @property
    def faults(self) -> list[Finding]:
        """What is confirmed and not mended."""
        return [entry.finding for entry in self._entries if entry.confirmed]

    @property
    def suspicions(self) -> int:
        """How many findings wait for their second look, or for rows on their way."""
        return sum(not entry.confirmed for entry in self._entries)

    def _same_fault(self, finding: Finding) -> Entry | None:
        return next(
            (entry for entry in self._entries if entry.confirmed and _touch(entry.finding, finding)), None
        )


def _passed(horizon: Ends | None, covered: Ends, starts: Ends) -> bool:
    return horizon is not None and all(
        covered.get(number, 0) >= end or starts.get(number, 0) >= end for number, end in horizon.items()
    )


def _touch(one: Finding, other: Finding) -> bool:
    same = one.kind is other.kind and one.partition == other.partition
    return same and one.first < other.next_offset and other.first < one.next_offset


def _inside(one: Finding, other: Finding) -> bool:
    return _touch(one, other) and one.first >= other.first and one.next_offset <= other.next_offset


def _wider(one: Finding, other: Finding) -> Finding:
    return replace(
        one,
        first=min(one.first, other.first),
        next_offset=max(one.next_offset, other.next_offset),
        count=max(one.count, other.count),
    )


def _fields(finding: Finding) -> dict[str, object]:
    partition = finding.partition
    return {
        "kind": finding.kind.value,
        "topic": partition.topic,
        "epoch": partition.epoch,
        "partition": partition.number,
        "first_offset": finding.first,
        "last_offset": finding.next_offset - 1,
        "count": finding.count,
        "offsets": loss_text(partition, finding.first, finding.next_offset - 1),
    }
