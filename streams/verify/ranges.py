"""Finished batches compared with each other: coverage, sums, losses, and overlaps. Pure logic, no I/O.

A redelivery writes a range again, often with other bounds, so overlaps are normal, and a worker that was
stopped for a while may write its range after its successor did, so their order proves nothing. Of two ranges
that share offsets

- one may call rows what the other one sent on: their home has judged them meanwhile;
- one may call lost what the other one has read: retention overtook the redelivery;
- both must agree on what the log holds, which offsets are forwarded copies and which are markers.

Ranges that differ in the last point contradict each other. Whether a row was judged twice in fact is told by
the ledger's rows (`rows.py`), not by ranges.
"""

from collections.abc import Iterator, Sequence

from sinks.verify import RangeNotes, RangeRow
from streams.verify.findings import Span


def merged(spans: Sequence[Span]) -> list[Span]:
    """The same offsets in as few spans as possible, in order."""
    found: list[Span] = []
    for first, end in sorted(span for span in spans if span[0] < span[1]):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((first, end))
    return found


def without(spans: Sequence[Span], taken: Sequence[Span]) -> list[Span]:
    """What of `spans` is in none of `taken`."""
    left = merged(spans)
    for first, end in merged(taken):
        left = [
            part
            for start, stop in left
            for part in ((start, min(stop, first)), (max(start, end), stop))
            if part[0] < part[1]
        ]
    return left


def clipped(spans: Sequence[Span], first: int, end: int) -> list[Span]:
    """What of `spans` lies between `first` and `end`."""
    return merged([(max(start, first), min(stop, end)) for start, stop in spans])


def gaps(ranges: Sequence[RangeRow], first: int, end: int) -> list[Span]:
    """Offsets from `first` up to `end` that no range covers."""
    return without([(first, end)], [(r.first, r.next_offset) for r in ranges])


def read(ranges: Sequence[RangeRow], first: int, end: int) -> list[Span]:
    """Offsets from `first` up to `end` that a range has read."""
    return clipped([(r.first + r.lost, r.next_offset) for r in ranges], first, end)


def lost(ranges: Sequence[RangeRow], first: int, end: int) -> list[Span]:
    """Offsets from `first` up to `end` that a range has lost and none has read."""
    gone = clipped([(r.first, r.first + r.lost) for r in ranges], first, end)
    return without(gone, read(ranges, first, end))


def miscounted(ranges: Sequence[RangeRow]) -> list[RangeRow]:
    """Ranges whose rows, forwarded, lost and markers are not as many as their offsets, or lie elsewhere."""
    return [
        r
        for r in ranges
        if r.rows + r.forwarded + r.lost + r.markers != r.next_offset - r.first
        or r.copies > r.rows + r.forwarded
        or not r.within
    ]


def overlaps(ranges: Sequence[RangeRow]) -> list[Span]:
    """Offsets that more than one range covers."""
    found, reached = [], 0
    for r in sorted(ranges):
        if r.first < reached:
            found.append((r.first, min(reached, r.next_offset)))
        reached = max(reached, r.next_offset)
    return merged(found)


def contradictions(ranges: Sequence[RangeNotes]) -> list[int]:
    """Offsets that one range calls a copy or a marker and another one, which has read them too, does not."""
    return sorted({offset for one, other in _overlapping(ranges) for offset in _disputed(one, other)})


def _overlapping(ranges: Sequence[RangeNotes]) -> Iterator[tuple[RangeNotes, RangeNotes]]:
    open_ranges: list[RangeNotes] = []
    for r in sorted(ranges, key=lambda notes: (notes.first, notes.next_offset)):
        open_ranges = [other for other in open_ranges if other.next_offset > r.first]
        yield from ((other, r) for other in open_ranges)
        open_ranges.append(r)


def _disputed(one: RangeNotes, other: RangeNotes) -> set[int]:
    first = max(one.first + one.lost, other.first + other.lost)
    end = min(one.next_offset, other.next_offset)
    differing = (set(one.copies) ^ set(other.copies)) | (set(one.markers) ^ set(other.markers))
    return {offset for offset in differing if first <= offset < end}
