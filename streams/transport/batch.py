"""A batch: the records of one fetch of one partition, with its own end."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol


class Record(Protocol):
    """What the transport reads of a consumed record (aiokafka's `ConsumerRecord`)."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp: int


class Owner(Protocol):
    """Who handed the batch out: the consumer, which keeps the books of every partition."""

    @property
    def generation(self) -> int:
        """Counts assignments; a batch of an earlier one belongs to somebody else by now."""

    def take(self, batch: "Batch") -> None:
        """The batch is in hand: giving its partition up waits for it, within bounds."""

    def finish(self, batch: "Batch") -> None:
        """Every row of the batch is stored: its offsets may be committed."""

    def drop(self, batch: "Batch") -> None:
        """The batch is out of hand without being stored; its offsets are not committed."""


class Batch:
    """Records `first_offset` up to, not including, `next_offset` of one partition, in order.

    Faust's own acknowledgement is ignored, because streams acknowledge events that were skipped or
    whose handler raised. A batch ends only by `done`, called once everything in it is stored.

    Attributes:
        topic: full name of the topic, prefix included.
        partition: partition number.
        generation: the assignment under which it was fetched.
        records: the records; offsets rise.
        first_offset: where the batch begins. Below the first record's offset when the broker
            explained that nothing is stored between them.
        lost: how many of the offsets before the first record retention deleted unread.
    """

    __slots__ = (
        "_owner",
        "first_offset",
        "generation",
        "lost",
        "next_offset",
        "partition",
        "records",
        "topic",
    )

    def __init__(
        self,
        owner: Owner,
        topic: str,
        partition: int,
        records: Sequence[Record],
        generation: int,
        first_offset: int,
        lost: int = 0,
    ) -> None:
        self._owner = owner
        self.topic = topic
        self.partition = partition
        self.records = records
        self.generation = generation
        self.first_offset = first_offset
        self.lost = lost
        self.next_offset = records[-1].offset + 1

    @property
    def owned(self) -> bool:
        """Whether the partition is still assigned as it was when the batch was fetched."""
        return self._owner.generation == self.generation

    def take(self) -> bool:
        """Take the batch in hand; False when the partition was given up meanwhile."""
        if not self.owned:
            return False
        self._owner.take(self)
        return True

    def done(self) -> None:
        """Everything in the batch is stored. A batch of an earlier assignment changes nothing."""
        self._owner.finish(self)

    def drop(self) -> None:
        """Let go of the batch unjudged: the next owner of the partition will fetch it again."""
        self._owner.drop(self)

    def apart(self, size: int = 1) -> "Iterator[Batch]":
        """Smaller batches that together cover the same offsets, in order.

        A batch ends before an offset that `size` divides, wherever this one begins: whoever takes the
        partition up later parts it at the same offsets.
        """
        first, lost = self.first_offset, self.lost
        for _, group in groupby(self.records, lambda record: record.offset // size):
            records = list(group)
            yield Batch(
                self._owner,
                self.topic,
                self.partition,
                records,
                self.generation,
                first_offset=first,
                lost=lost,
            )
            first, lost = records[-1].offset + 1, 0

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        """Where the batch is from; never what is in it, payloads hold personal data."""
        return f"<Batch {self.topic}[{self.partition}] {self.first_offset}..{self.next_offset - 1}>"
