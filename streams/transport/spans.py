"""Control batches in a fetch: the one kind of hole that aiokafka hides.

Transaction markers take up offsets and are never handed to a consumer. aiokafka reads past them in
silence, so its reader is wrapped here to note where they were; without the note a marker could not
be told from a lost record.
"""

from collections import defaultdict
from typing import Any

from aiokafka.consumer import fetcher as aiokafka_fetcher

KEPT = 1024
"""Spans remembered per partition: they are needed only until the batch behind them is delivered."""


class ControlSpans:
    """Offsets taken by control batches, per (topic, partition), as [first, next) pairs."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)

    def note(self, topic: str, partition: int, first: int, next_offset: int) -> None:
        """Remember that a control batch takes up the offsets from `first` up to `next_offset`."""
        spans = self._spans[topic, partition]
        if (first, next_offset) not in spans:
            spans.append((first, next_offset))
            del spans[:-KEPT]

    def reach(self, topic: str, partition: int, offset: int) -> int:
        """The first offset at or after `offset` that no noted control batch takes up."""
        for first, next_offset in sorted(self._spans.get((topic, partition), ())):
            if first <= offset < next_offset:
                offset = next_offset
        return offset


class _NotingRecords:
    """aiokafka's `MemoryRecords`, noting each control batch as it goes by."""

    def __init__(self, records: Any, spans: ControlSpans, topic: str, partition: int) -> None:
        self._records = records
        self._spans = spans
        self._topic = topic
        self._partition = partition

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if batch.is_control_batch:
            self._spans.note(self._topic, self._partition, batch.base_offset, batch.next_offset)
        return batch


_PartitionRecords = aiokafka_fetcher.PartitionRecords
_SPANS: ControlSpans | None = None


class _NotingPartitionRecords(_PartitionRecords):  # type: ignore[misc,valid-type]
    """aiokafka's reader of one partition's response, over records that note control batches."""

    def __init__(self, tp: Any, records: Any, *args: Any, **kwargs: Any) -> None:
        if _SPANS is not None:
            records = _NotingRecords(records, _SPANS, tp.topic, tp.partition)
        super().__init__(tp, records, *args, **kwargs)

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        """The record as the parser made it; a second object per record would double the cost."""
        return record


def note_control_batches() -> ControlSpans:
    """Make aiokafka's fetcher note control batches; returns where. One per process.

    aiokafka has no hook for this: its fetcher looks the reader up by this module's name.
    """
    global _SPANS  # noqa: PLW0603 - the fetcher's module has one name to replace
    if _SPANS is None:
        _SPANS = ControlSpans()
        aiokafka_fetcher.PartitionRecords = _NotingPartitionRecords
    return _SPANS
