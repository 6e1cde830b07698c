"""Batches made by hand, for tests of steps that need no broker."""

from collections.abc import Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from streams.transport import Batch

NOW_MS = 1_767_225_600_000


class Hands:
    """An owner of batches that writes down how they ended; `generation` is raised by a rebalance."""

    def __init__(self) -> None:
        self.generation = 1
        self.silence_s = 0.0
        self.finished: list[Batch] = []

    def take(self, batch: Batch) -> None:
        """Nothing is kept."""

    def finish(self, batch: Batch) -> None:
        """Note it."""
        self.finished.append(batch)

    def drop(self, batch: Batch) -> None:
        """Nothing is kept."""


def record(offset: int, value: bytes | None, headers: Sequence[tuple[str, Any]] = ()) -> Any:
    """A consumed record, as aiokafka hands it over."""
    return ConsumerRecord("t", 0, offset, NOW_MS, 1, None, value, None, 0, len(value or b""), tuple(headers))


def batch_of(
    records: Sequence[Any], topic: str = "t", partition: int = 0, owner: Hands | None = None
) -> Batch:
    """A batch of records."""
    hands = owner or Hands()
    return Batch(hands, topic, partition, records, hands.generation, records[0].offset)
