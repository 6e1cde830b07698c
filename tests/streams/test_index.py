"""The deduplication index against a dictionary."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import index as module
from streams.index import Key, PaymentIndex, ReadIndex

HOMES = st.integers(0, 3)
NUMBERS = st.one_of(st.integers(0, 5), st.integers(2**64 - 3, 2**64 - 1))
KEYS = st.lists(st.tuples(HOMES, NUMBERS, NUMBERS, NUMBERS), max_size=40)
STEPS = st.lists(st.tuples(st.booleans(), KEYS), max_size=6)


def u64(numbers: list[int]) -> module.U64:
    """An array as the restore hands it over."""
    return np.array(numbers, dtype=np.uint64)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, merge_at=st.integers(1, 10))
def test_the_index_knows_what_was_added_and_nothing_else(steps: list, merge_at: int) -> None:
    """Restored and added keys, merged at any moment, answer like a set of contents per identity."""
    model: dict[tuple[int, int], set[int]] = {}
    index = PaymentIndex()
    before, module.MERGE_AT = module.MERGE_AT, merge_at
    try:
        for restored, keys in steps:
            for home, identity, content, _ in keys:
                model.setdefault((home, identity), set()).add(content)
            if restored:
                for home in {key[0] for key in keys}:
                    mine = [key for key in keys if key[0] == home]
                    index.load(home, *(u64([key[column] for key in mine]) for column in (1, 2, 3)))
            else:
                index.add(
                    [key[0] for key in keys], [key[1] for key in keys], [Key(key[2], key[3]) for key in keys]
                )
    finally:
        module.MERGE_AT = before
    asked = [(home, identity) for home in range(5) for identity in [*range(7), *range(2**64 - 4, 2**64)]]
    known = index.known(np.array([a[0] for a in asked], np.uint32), u64([a[1] for a in asked]))
    assert known.tolist() == [place in model for place in asked]
    for home, identity in asked:
        assert {key.content for key in index.keys(home, identity)} == model.get((home, identity), set())


@given(keys=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=30))
def test_a_restored_key_keeps_its_first_position(keys: list[tuple[int, int, int]]) -> None:
    """A key that comes twice, as from an unmerged table, is held once, at its lowest position."""
    index = PaymentIndex()
    index.load(1, *(u64([key[column] for key in keys]) for column in range(3)))
    first: dict[tuple[int, int], int] = {}
    for identity, content, position in keys:
        first[identity, content] = min(position, first.get((identity, content), position))
    assert len(index) == len(first)
    for (identity, content), position in first.items():
        assert Key(content, position) in index.keys(1, identity)


def test_homes_that_went_elsewhere_are_kept() -> None:
    """A home that comes back asks only for what was stored since it was last complete."""
    index = PaymentIndex()
    index.load(3, u64([1]), u64([2]), u64([3]))
    assert index.watermarks([3, 4]) == {}
    index.restored([3, 4], 1000)
    index.restored([4], 2000)
    assert index.watermarks([3, 4, 5]) == {3: 1000, 4: 2000}
    assert index.keys(3, 1) == [Key(2, 3)]


def test_no_rows_ask_for_nothing() -> None:
    """An empty turn is no special case."""
    empty = PaymentIndex().known(np.empty(0, np.uint32), np.empty(0, np.uint64))
    assert empty.tolist() == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 9)), max_size=20))
def test_the_greatest_end_stays(ends: list[tuple[str, str, int]]) -> None:
    """A read is certainly new only when it ends later than every stored one of its device and type."""
    index = ReadIndex()
    model: dict[tuple[str, str], int] = {}
    for device, kind, end in ends:
        index.load({(device, kind): end})
        model[device, kind] = max(end, model.get((device, kind), end))
    assert index.ends() == model
    assert all(index.end(*key) == end for key, end in model.items())
    assert index.end("none", "x") < -(10**15)
