"""The books of all assigned partitions, and the commits that follow from them."""

import asyncio
from collections.abc import Iterator, Mapping

from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.transport.errors import OffsetsWentBack
from streams.transport.offsets import PartitionOffsets
from streams.transport.thread import BatchConsumerThread, Start


class Books:
    """Offsets of the partitions of one assignment. Belongs to the event loop."""

    def __init__(self, thread: BatchConsumerThread) -> None:
        self._thread = thread
        self._of: dict[TP, PartitionOffsets] = {}
        self._notes: dict[TopicPartition, int] = {}
        """Where partitions begin whose former owner's note `released` still stands."""
        self._committing = asyncio.Lock()

    def begin(self, starts: Mapping[TP, Start]) -> None:
        """Open books for the partitions that were assigned.

        Raises:
            OffsetsWentBack: more was committed than a topic holds.
        """
        self._of = {tp: PartitionOffsets(start.offset) for tp, start in starts.items()}
        for tp, start in starts.items():
            if start.offset > start.log_end:
                raise OffsetsWentBack(tp.topic, tp.partition, start.offset, start.log_end)
        self._notes = {TopicPartition(*tp): start.offset for tp, start in starts.items() if start.released}

    def forget(self) -> None:
        """The partitions were given up; commits that are under way change nothing here any more."""
        self._of = {}
        self._notes = {}

    def get(self, tp: TP) -> PartitionOffsets | None:
        """The books of a partition; None when it is not assigned."""
        return self._of.get(tp)

    def finished(self, tp: TP, first_offset: int, next_offset: int) -> None:
        """See `PartitionOffsets.finished`."""
        self._of[tp].finished(first_offset, next_offset)

    def positions(self) -> Iterator[tuple[TP, int]]:
        """Each partition and the first offset that is not finished."""
        for tp, books in self._of.items():
            yield tp, books.committable() or books.committed

    async def use_notes_up(self) -> bool:
        """Take the former owner's notes away: whoever follows a death of this one must wait.

        False while that does not succeed: nothing may be handed out, and so nothing stored, under a note
        that would tell the next owner that nobody stores anything any more.
        """
        async with self._committing:
            notes = self._notes
            if notes and await self._thread.commit_offsets(notes, released=False) and self._notes is notes:
                self._notes = {}
        return not self._notes

    async def commit(self, released: bool) -> bool:
        """Commit what is finished; True when something was committed.

        With `released` all partitions are committed, with the note that nobody stores anything of them.
        """
        async with self._committing:  # a commit beside the last one of a generation would follow it late
            return await self._commit(released)

    async def _commit(self, released: bool) -> bool:
        of = self._of
        offsets = {tp: books.committable() for tp, books in of.items()}
        wanted = {tp: offset for tp, offset in offsets.items() if offset is not None}
        if released:
            wanted = {tp: wanted.get(tp, books.committed) for tp, books in of.items()}
        if not wanted:
            return False
        kafka = {TopicPartition(tp.topic, tp.partition): offset for tp, offset in wanted.items()}
        if not await self._thread.commit_offsets(kafka, released):
            return False
        for tp, offset in wanted.items():
            of[tp].committed = offset
        return True
