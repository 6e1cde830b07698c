"""Holes: a fetched chunk that does not begin where the books of its partition expect it.

Faust drops rows like this at a join before the first commit, so a hole is a fault of the client until the
broker repeats it. Then retention explains it, a compacted topic, or markers of transactions; nothing else
does, and nothing behind it is judged.
"""

from collections.abc import Container

from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.transport.errors import OffsetsWentBack, UnexplainedHole
from streams.transport.listener import Listener
from streams.transport.offsets import PartitionOffsets
from streams.transport.spans import note_control_batches
from streams.transport.thread import BatchConsumerThread


class Holes:
    """Explains the holes of one consumer's partitions.

    Attributes:
        refetched: the offset at which each partition was fetched once more.
    """

    def __init__(self, thread: BatchConsumerThread, compacted: Container[str], listener: Listener) -> None:
        self.refetched: dict[TP, int] = {}
        self._thread = thread
        self._compacted = compacted
        self._listener = listener
        self._spans = note_control_batches()

    def forget(self) -> None:
        """Partitions changed hands: every hole is new."""
        self.refetched.clear()

    async def explain(self, tp: TP, books: PartitionOffsets, first: int) -> int | None:
        """How many of the offsets from the expected one up to `first` are lost; 0 when none.

        None means: it was sought once more, look again.

        Raises:
            UnexplainedHole: nobody says why.
            OffsetsWentBack: the chunk begins below the expected offset.
        """
        kafka_tp = TopicPartition(tp.topic, tp.partition)
        if self.refetched.get(tp) != books.expected:
            self.refetched[tp] = books.expected
            start = (await self._thread.starts([kafka_tp]))[kafka_tp]
            await self._thread.seek_all({kafka_tp: max(books.expected, start.log_start)})
            return None
        if first < books.expected:
            raise OffsetsWentBack(tp.topic, tp.partition, books.expected, first)
        if tp.topic in self._compacted:
            return 0
        log_start = (await self._thread.starts([kafka_tp]))[kafka_tp].log_start
        begin = max(books.expected, min(log_start, first))
        if self._spans.reach(tp.topic, tp.partition, begin) < first:
            raise UnexplainedHole(tp.topic, tp.partition, begin, first)
        if begin > books.expected:
            self._listener.lost(tp.topic, tp.partition, books.expected, begin)
        return begin - books.expected
