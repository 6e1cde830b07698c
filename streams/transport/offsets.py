"""The books of one partition: what is expected next, what is finished, what may be committed."""


class PartitionOffsets:
    """Offsets of one assigned partition, from the moment of its assignment.

    A commit advances over contiguous offsets of finished batches, never over deliveries: a batch
    that is finished behind an unfinished one waits for it. Pure logic, no I/O.

    Attributes:
        expected: offset at which the next fetched batch must start.
        committed: what the group's offset is known to be.
    """

    __slots__ = ("_finished", "_safe", "committed", "expected")

    def __init__(self, start: int) -> None:
        self.expected = start
        self.committed = start
        self._safe = start
        self._finished: dict[int, int] = {}

    def hole_before(self, first_offset: int) -> bool:
        """Whether a batch that starts at `first_offset` would leave offsets out (or repeat some)."""
        return first_offset != self.expected

    def delivered(self, first_offset: int, next_offset: int) -> None:
        """A batch was handed out; an explained hole before its first record is part of it.

        Raises:
            ValueError: it does not start at the expected offset, or is empty.
        """
        if first_offset != self.expected or next_offset <= first_offset:
            raise ValueError(f"expected offset {self.expected}, got {first_offset}..{next_offset}")
        self.expected = next_offset

    def finished(self, first_offset: int, next_offset: int) -> None:
        """Everything from `first_offset` up to `next_offset` is stored.

        Raises:
            ValueError: the range was never delivered, or was finished before.
        """
        if first_offset < self._safe or next_offset > self.expected or first_offset in self._finished:
            raise ValueError(f"{first_offset}..{next_offset} is not in hand")
        self._finished[first_offset] = next_offset
        while (end := self._finished.pop(self._safe, None)) is not None:
            self._safe = end

    def committable(self) -> int | None:
        """Offset to commit: all before it is finished. None when it is committed already."""
        return self._safe if self._safe > self.committed else None
