"""Reads, second half: what ends later is new; the rest is compared with what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from schemas.identity import read_key
from schemas.outcomes import Code, Outcome, reason
from sinks import restore
from sinks.history_reads import history_intervals
from streams.history import History
from streams.index import ReadIndex
from streams.quarantine import Quarantine
from streams.reads_prepare import PreparedReads
from streams.rows import Row
from streams.store import Lease, Store
from streams.turn import Decided, Fact, Verdict, lineage, positions_of

Ends = dict[tuple[str, str], int]
"""(device id, type) → greatest end, milliseconds UTC."""


@dataclass(slots=True)
class _Work:
    """What is collected while a turn of reads is decided. A read is named by (prepared, place in it)."""

    decided: Decided = field(default_factory=Decided)
    mine: list[tuple[PreparedReads, int]] = field(default_factory=list)
    stored: list[tuple[PreparedReads, int, Outcome]] = field(default_factory=list)
    ends: Ends = field(default_factory=dict)


class DecideReads:
    """Decides turns of reads, one after the other."""

    def __init__(
        self, store: Store, index: ReadIndex, history: History, quarantine: Quarantine, topic: str
    ) -> None:
        self._store = store
        self._index = index
        self._history = history
        self._quarantine = quarantine
        self._topic = topic

    def __call__(
        self, turn: Sequence[PreparedReads], partitions: int, refused: Mapping[int, str], lease: Lease
    ) -> tuple[Decided, Ends]:
        """Decide every row of the turn that has no outcome yet.

        Returns:
            What to write, and the ends to remember after it is written.
        """
        rows = [row for prepared in turn for row in prepared.rows]
        judged = self._history.judged([prepared.batch for prepared in turn], rows, lease)
        work = _Work()
        for prepared in turn:
            self._sort(prepared, partitions, refused, judged, work)
        self._judge(work, lease)
        return self._assemble(work), work.ends

    def _sort(
        self,
        prepared: PreparedReads,
        partitions: int,
        refused: Mapping[int, str],
        judged: set[int],
        work: _Work,
    ) -> None:
        """Redelivered rows aside, bad ones to quarantine, other homes' to be sent on, the rest to judge."""
        places = dict(zip(prepared.valid, range(len(prepared.valid)), strict=True))
        elsewhere = (prepared.homes % np.uint32(partitions) != prepared.batch.partition).tolist()
        for index, row in enumerate(prepared.rows):
            if row.position in judged:
                work.decided.replayed += 1
                continue
            judged.add(row.position)
            at = places.get(index)
            if at is None or row.position in refused:
                self._refuse(row, refused, work)
            elif elsewhere[at]:
                device = prepared.devices[at]
                key = read_key(device.organization_id, device.external_id)
                work.decided.forwards.append((row, key))
            else:
                work.mine.append((prepared, at))

    def _refuse(self, row: Row, refused: Mapping[int, str], work: _Work) -> None:
        orphan = self._history.orphan(row.position)
        if orphan is not None and orphan.outcome != Outcome.QUARANTINED:
            # stored as good by code that judged otherwise: what is stored stays
            kept = Verdict(row, Outcome(orphan.outcome), "", orphan.identity, orphan.content_hash)
            work.decided.verdicts.append(kept)
            return
        faults = [refused[row.position]] if row.position in refused else row.reasons
        reasons = orphan.reasons if orphan else list(dict.fromkeys(faults))
        work.decided.verdicts.append(Verdict(row, Outcome.QUARANTINED, _name_of(row), reasons=reasons))

    def _judge(self, work: _Work, lease: Lease) -> None:
        """Reads that end later than every known one of their device and type are new at once."""
        later = self._later(work)
        overlapping = self._overlapping(work, lease)
        if all(later) and not overlapping and not self._history.has_orphans:
            work.stored = [(prepared, at, Outcome.ACCEPTED) for prepared, at in work.mine]
            for prepared, at in work.mine:
                self._verdict(prepared, at, Outcome.ACCEPTED, work)
            return
        known = self._known(work, later, lease)
        for number, (prepared, at) in enumerate(work.mine):
            identity, content = prepared.identities[at], prepared.content[at]
            row = prepared.rows[prepared.valid[at]]
            orphan = self._history.orphan(row.position)
            contents = known.setdefault(identity, [])
            if orphan is not None:
                self._verdict(prepared, at, Outcome(orphan.outcome), work, orphan.reasons)
            elif content in contents:
                self._verdict(prepared, at, Outcome.DUPLICATE, work)
            elif number in overlapping and not contents:
                overlap = [reason(Code.HISTORY_OVERLAP, "start")]
                self._verdict(prepared, at, Outcome.QUARANTINED, work, overlap)
            else:
                outcome = Outcome.CONFLICT if contents else Outcome.ACCEPTED
                work.stored.append((prepared, at, outcome))
                self._verdict(prepared, at, outcome, work)
                contents.append(content)

    def _later(self, work: _Work) -> list[bool]:
        """For each read whether it ends later than all before it; notes the new ends."""
        stored, ends = self._index.ends(), work.ends
        later = []
        for prepared, at in work.mine:
            key = prepared.devices[at].id, prepared.columns["type"][at]
            end = prepared.columns["end"][at]
            greatest = ends.get(key)
            if greatest is None:
                greatest = stored.get(key, -(1 << 62))
            is_later = end > greatest
            later.append(is_later)
            if is_later:
                ends[key] = end
        return later

    def _known(self, work: _Work, later: list[bool], lease: Lease) -> dict[int, list[int]]:
        """Stored contents of the reads that do not end later, first version first.

        Not those of the rows themselves: a first attempt at this turn stored them, before the store
        refused another row.
        """
        asked = [place for place, is_later in zip(work.mine, later, strict=True) if not is_later]
        if not asked:
            return {}
        identities = [prepared.identities[at] for prepared, at in asked]
        devices = {prepared.devices[at].id for prepared, at in asked}
        at = {prepared.rows[prepared.valid[place]].position for prepared, place in asked}
        again = {position for position in at if self._history.orphan(position) is None}
        found: dict[int, list[int]] = {}
        for version in self._store.read(lambda c: restore.stored_reads(c, identities, devices), lease):
            if version["position"] not in again:
                found.setdefault(version["identity"], []).append(version["content_hash"])
        return found

    def _overlapping(self, work: _Work, lease: Lease) -> set[int]:
        """Numbers of History reads that overlap another History read of their device."""
        history = [
            (number, prepared, at)
            for number, (prepared, at) in enumerate(work.mine)
            if prepared.columns["type"][at] == "History"
        ]
        if not history:
            return set()
        first = min(prepared.columns["start"][at] for _, prepared, at in history)
        last = max(prepared.columns["end"][at] for _, prepared, at in history)
        devices = {prepared.devices[at].id for _, prepared, at in history}
        taken = self._store.read(lambda c: history_intervals(c, devices, first, last), lease)
        overlapping = set()
        for number, prepared, at in history:
            start, end = prepared.columns["start"][at], prepared.columns["end"][at]
            identity = prepared.identities[at]
            spans = taken.setdefault(prepared.devices[at].id, [])
            if any(
                start < other_end and other_start < end and other != identity
                for other_start, other_end, other in spans
            ):
                overlapping.add(number)
            else:
                spans.append((start, end, identity))
        return overlapping

    def _verdict(
        self,
        prepared: PreparedReads,
        at: int,
        outcome: Outcome,
        work: _Work,
        reasons: Sequence[str] = (),
    ) -> None:
        row = prepared.rows[prepared.valid[at]]
        work.decided.verdicts.append(
            Verdict(
                row,
                outcome,
                prepared.columns["device_external_id"][at],
                prepared.identities[at],
                prepared.content[at],
                reasons,
            )
        )

    def _assemble(self, work: _Work) -> Decided:
        facts = work.decided.facts
        if work.stored:
            facts.append(self._versions(work))
        refused = [v for v in work.decided.verdicts if v.outcome is Outcome.QUARANTINED]
        if refused:
            facts.append(self._quarantine.fact(refused))
        return work.decided

    def _versions(self, work: _Work) -> Fact:
        stored = work.stored
        names = stored[0][0].columns
        rows = [prepared.rows[prepared.valid[at]] for prepared, at, _ in stored]
        return Fact(
            "read_versions",
            {
                **{name: [prepared.columns[name][at] for prepared, at, _ in stored] for name in names},
                **lineage(rows, self._topic),
                "device_id": [prepared.devices[at].id for prepared, at, _ in stored],
                "identity": [prepared.identities[at] for prepared, at, _ in stored],
                "content_hash": [prepared.content[at] for prepared, at, _ in stored],
                "outcome": [outcome.value for _, _, outcome in stored],
                "home": pa.array(
                    np.fromiter((prepared.homes[at] for prepared, at, _ in stored), np.uint16, len(stored))
                ),
            },
            positions_of(rows),
        )


def _name_of(row: Row) -> str:
    """The device's external id of a row that may be bad; empty when it cannot be told."""
    name = (row.value or {}).get("device_external_id")
    return name if isinstance(name, str) and len(name) <= 256 and name.isprintable() else ""


def remember(index: ReadIndex, ends: Ends) -> None:
    """Add ends to the index, after the reads have been stored."""
    index.load(ends)
