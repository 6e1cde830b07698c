"""Control batches in a fetch: the one kind of hole that aiokafka hides.

Transaction markers take up offsets and are never handed to a consumer. aiokafka reads past them in
silence, so its reader is wrapped here to note where they were; without the note a marker could not
be told from a lost record.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import structlog
from aiokafka.consumer import fetcher as aiokafka_fetcher

from streams.transport.lenient import LenientRecords

log = structlog.get_logger(__name__)

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
    """aiokafka's `MemoryRecords`, noting each control batch as it goes by and keeping the raw bytes."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.records: Any = _MemoryRecords(raw)
        self.note: Callable[[int, int], None] = lambda _first, _next: None

    def has_next(self) -> bool:
        return bool(self.records.has_next())

    def size_in_bytes(self) -> int:
        return int(self.records.size_in_bytes())

    def next_batch(self) -> Any:
        batch = self.records.next_batch()
        if batch.is_control_batch:
            self.note(batch.base_offset, batch.next_offset)
        return batch


_MemoryRecords = aiokafka_fetcher.MemoryRecords
_PartitionRecords = aiokafka_fetcher.PartitionRecords
_SPANS = ControlSpans()


class _NotingPartitionRecords(_PartitionRecords):  # type: ignore[misc,valid-type]
    """aiokafka's reader of one partition's response, over records that note control batches."""

    def __init__(self, tp: Any, records: _NotingRecords, *args: Any, **kwargs: Any) -> None:
        records.note = partial(_SPANS.note, tp.topic, tp.partition)
        super().__init__(tp, records, *args, **kwargs)

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            # a header's name is not UTF-8: from the record that was not handed out on, read leniently
            log.warning("header_name_not_utf8", topic=self._tp.topic, partition=self._tp.partition)
            self._records.records = LenientRecords(self._records.raw, self.next_fetch_offset)
            yield from super()._unpack_records()

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        """The record as the parser made it; a second object per record would double the cost."""
        return record


def note_control_batches() -> ControlSpans:
    """Make aiokafka's fetcher note control batches; returns where. One per process.

    aiokafka has no hook for this: its fetcher looks both readers up by names of its module.
    """
    aiokafka_fetcher.MemoryRecords = _NotingRecords
    aiokafka_fetcher.PartitionRecords = _NotingPartitionRecords
    return _SPANS
