"""The books of one partition, against a model that keeps every offset by itself."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.transport.offsets import PartitionOffsets


class BooksMachine(RuleBasedStateMachine):
    """Batches are delivered in order, finished in any order, commits happen at any time."""

    START = 7

    def __init__(self) -> None:
        super().__init__()
        self.books = PartitionOffsets(self.START)
        self.expected = self.START
        self.committed = self.START
        self.open: list[tuple[int, int]] = []
        self.finished: set[int] = set()

    @rule(size=st.integers(1, 50))
    def deliver(self, size: int) -> None:
        """The next batch comes."""
        assert not self.books.hole_before(self.expected)
        self.books.delivered(self.expected, self.expected + size)
        self.open.append((self.expected, self.expected + size))
        self.expected += size

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Any batch in hand is done."""
        batch = data.draw(st.sampled_from(self.open))
        self.open.remove(batch)
        self.books.finished(*batch)
        self.finished.update(range(*batch))

    @rule()
    def commit(self) -> None:
        """What may be committed is committed."""
        offset = self.books.committable()
        if offset is not None:
            self.books.committed = self.committed = offset

    @rule(by=st.integers(1, 5))
    def refuse_holes(self, by: int) -> None:
        """A batch that leaves offsets out, or repeats some, is never taken."""
        for first in (self.expected + by, self.expected - by):
            assert self.books.hole_before(first)
            with pytest.raises(ValueError, match="expected offset"):
                self.books.delivered(first, first + 100)

    @precondition(lambda self: self.finished)
    @rule(data=st.data())
    def refuse_twice(self, data: st.DataObject) -> None:
        """A batch that was finished cannot be finished again."""
        first = data.draw(st.sampled_from(sorted(self.finished)))
        if any(begin <= first < end for begin, end in self.open):
            return
        before = self.books.committable()
        with pytest.raises(ValueError, match="not in hand"):
            self.books.finished(first, self.expected + 1)
        assert self.books.committable() == before

    @invariant()
    def commits_only_what_is_finished(self) -> None:
        """Everything before a committable offset is finished, and the next one is not."""
        safe = self.START
        while safe in self.finished:
            safe += 1
        assert self.books.committable() == (safe if safe > self.committed else None)
        assert self.books.expected == self.expected


BooksMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPartitionOffsets = BooksMachine.TestCase


def test_an_empty_batch_is_refused() -> None:
    """A batch takes up at least one offset."""
    with pytest.raises(ValueError, match="expected offset 3"):
        PartitionOffsets(3).delivered(3, 3)
