"""The verifier's reasoning without any store: spans, overlaps, losses, and when a suspicion is a fault."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.verify import RangeNotes, RangeRow
from streams.verify import ranges as logic
from streams.verify.findings import MEANING, Finding, Kind, Partition
from streams.verify.losses import BadLoss, known_losses, loss_text
from streams.verify.notebook import AT_ONCE, Notebook
from sunledger.settings import SettingsFaults, VerifierSettings, load

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)
WHERE = Partition("payments", 0, 1)


def made(first: int, end: int, lost: int = 0, forwarded: int = 0) -> RangeRow:
    """A range whose numbers add up."""
    return RangeRow(first, end, end - first - lost - forwarded, forwarded, lost, 0, 0, True)


RANGES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 10), st.integers(0, 10)).map(
        lambda t: made(t[0], t[0] + t[1], min(t[1], t[2]))
    ),
    max_size=8,
)


def offsets(spans: list[tuple[int, int]]) -> set[int]:
    """The offsets of spans, one by one."""
    return {offset for first, end in spans for offset in range(first, end)}


@given(SPANS, SPANS)
def test_spans_are_sets_of_offsets(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """Union, difference and clipping say the same as sets do, in as few spans as possible."""
    union = logic.merged([*one, *other])
    assert offsets(union) == offsets(one) | offsets(other)
    assert all(before[1] < after[0] for before, after in pairwise(union))
    assert offsets(logic.without(one, other)) == offsets(one) - offsets(other)
    assert offsets(logic.clipped(one, 20, 40)) == offsets(one) & set(range(20, 40))


@given(RANGES, st.integers(0, 30), st.integers(31, 60))
def test_every_offset_is_read_lost_or_missing(ranges: list[RangeRow], first: int, end: int) -> None:
    """Exactly one of the three, whatever overlaps; what one range lost and another one read is read."""
    read = offsets(logic.read(ranges, first, end))
    lost = offsets(logic.lost(ranges, first, end))
    gaps = offsets(logic.gaps(ranges, first, end))
    assert read | lost | gaps == set(range(first, end))
    assert len(read) + len(lost) + len(gaps) == end - first
    assert read == offsets([(r.first + r.lost, r.next_offset) for r in ranges]) & set(range(first, end))


@given(RANGES)
def test_overlaps_are_what_several_ranges_cover(ranges: list[RangeRow]) -> None:
    """Counted offset by offset."""
    covered = [offset for r in ranges for offset in range(r.first, r.next_offset)]
    assert offsets(logic.overlaps(ranges)) == {offset for offset in covered if covered.count(offset) > 1}


def test_contradictions_need_two_readers() -> None:
    """A copy for one and none for the other; not where one of them has lost the offset."""
    one = RangeNotes(0, 10, 0, [3, 7], [5])
    assert logic.contradictions([one, RangeNotes(2, 8, 0, [3, 7], [5])]) == []
    assert logic.contradictions([one, RangeNotes(4, 12, 0, [9], [5])]) == [7, 9]
    assert logic.contradictions([one, RangeNotes(4, 12, 4, [9], [])]) == [9]
    assert logic.contradictions([one, RangeNotes(2, 8, 0, [3, 5, 7], [])]) == [5]
    assert logic.contradictions([one, RangeNotes(10, 12, 0, [10], [])]) == []


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, False),
        ({"rows": 9}, True),
        ({"copies": 11}, True),
        ({"within": False}, True),
        ({"markers": 1}, True),
    ],
)
def test_numbers_add_up(changes: dict[str, Any], wrong: bool) -> None:
    """Rows, forwarded, lost and markers make up the range; copies are records."""
    fields = {"first": 0, "next_offset": 10, "rows": 7, "forwarded": 2, "lost": 1, "copies": 3, "markers": 0}
    row = RangeRow(**{**fields, "within": True, **changes})
    assert logic.miscounted([row]) == ([row] if wrong else [])


def finding(kind: Kind = Kind.NO_OUTCOME, first: int = 5, end: int = 6, in_flight: bool = False) -> Finding:
    """A finding of partition 1 of the payments topic."""
    return Finding(kind, WHERE, first, end, end - first, in_flight)


def test_a_suspicion_needs_a_second_look() -> None:
    """Reported when it is still there, forgotten when it is not, mended when it ends."""
    book = Notebook()
    book.note([finding(), finding(first=8, end=9)], 0, {1: 10})
    assert book.faults == []
    assert book.suspicions == 2
    first, second = book.due("payments")
    book.looked(first, finding(), {}, {})
    book.looked(second, None, {}, {})
    assert book.faults == [finding()]
    assert book.suspicions == 0
    book.looked(first, None, {}, {})
    assert book.faults == []


def test_what_may_be_in_flight_waits_for_its_horizon() -> None:
    """Every log judged as far as it went at the first look, or retention took the rest."""
    flying = finding(in_flight=True)
    book = Notebook()
    book.note([flying], 0, {0: 100, 1: 50, 2: 0})
    (entry,) = book.due("payments")
    for covered, starts in (({}, {}), ({0: 100, 1: 49}, {}), ({1: 50}, {0: 99})):
        book.looked(entry, flying, covered, starts)
        assert book.faults == []
    book.looked(entry, flying, {0: 100}, {1: 50})
    assert book.faults == [flying]


def test_nothing_flies_in_a_log_that_is_gone() -> None:
    """Of an earlier life of a topic a forwarded row cannot be told from a lost one; the rest can."""
    book = Notebook()
    book.note([finding(in_flight=True), finding(Kind.NO_VERSION)], 1, {1: 10})
    assert [entry.finding.kind for entry in book.due("payments")] == [Kind.NO_VERSION]


def test_a_fault_is_one_fault() -> None:
    """What a later full pass finds again makes a fault wider, not a second one; others take their turn."""
    book = Notebook()
    book.note([finding(first=5, end=8)], 0, {})
    book.looked(book.due("payments")[0], finding(first=5, end=8), {}, {})
    book.note([finding(first=7, end=20)], 0, {})
    assert [(fault.first, fault.next_offset) for fault in book.faults] == [(5, 20)]
    book.note([finding(first=at, end=at + 1) for at in range(100, 100 + 2 * AT_ONCE)], 0, {})
    looked = {id(entry) for _ in range(3) for entry in book.due("payments")}
    assert len(looked) == 2 * AT_ONCE + 1
    assert book.due("reads") == []


def test_known_losses_are_written_as_they_are_logged() -> None:
    """Several of several partitions; what cannot be read is named, by the settings too."""
    text = f"{loss_text(WHERE, 10, 13)}, p.reads:2:0:7-7"
    assert known_losses(text) == {WHERE: [(10, 14)], Partition("p.reads", 2, 0): [(7, 8)]}
    assert known_losses("") == {}
    for bad in ("payments:0:1", "payments:0:1:9-3", "payments:0:1:a-b"):
        with pytest.raises(BadLoss, match=f"found '{bad}'"):
            known_losses(f"reads:0:0:1-2,{bad}")
    with pytest.raises(SettingsFaults, match=r"SUNLEDGER_KNOWN_LOSSES: .*topic:epoch:partition:first-last"):
        load(VerifierSettings, kafka="k", clickhouse_url="u", known_losses="x")


def test_every_kind_has_a_meaning() -> None:
    """The log and the documents say in a sentence what is wrong."""
    assert set(MEANING) == set(Kind)
    assert str(finding(Kind.GAP, 3, 9)) == "gap payments[1] 3..8 (6)"
