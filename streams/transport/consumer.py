"""The consumer: fetches, checks that nothing is missing, hands out batches, commits what is done."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import structlog
from aiokafka.structs import TopicPartition
from faust.transport.drivers.aiokafka import Consumer as AIOKafkaConsumer
from faust.types import TP, ConsumerMessage

from streams.transport.batch import Batch, Record
from streams.transport.errors import OffsetsWentBack, UnexplainedHole
from streams.transport.offsets import PartitionOffsets
from streams.transport.spans import note_control_batches
from streams.transport.thread import BatchConsumerThread, Start

log = structlog.get_logger(__name__)

NOTE_PAUSE_S = 0.2
"""Pause before rows are fetched again, while the former owner's note cannot be used up."""
LAST_COMMIT_S = 5.0
"""Longest wait for the commit with which partitions are given up."""


class BatchMessage(ConsumerMessage):  # type: ignore[misc]
    """Faust's envelope around a batch."""

    batch: Batch


class Listener(Protocol):
    """What the transport tells the worker about partitions."""

    def assigned(self, generation: int, starts: Mapping[TP, Start], first_member: bool) -> None:
        """Partitions begin at these offsets; must not block: restoring goes on beside it."""

    def revoked(self, generation: int) -> None:
        """Every partition of this generation is given up; nothing of it may be stored any more."""

    def lost(self, topic: str, partition: int, first: int, next_offset: int) -> None:
        """Retention deleted these offsets before they were read: record it and raise an alarm."""


class NobodyListens:
    """The listener of a transport whose worker keeps nothing per partition."""

    def assigned(self, generation: int, starts: Mapping[TP, Start], first_member: bool) -> None:
        """Nothing to restore."""

    def revoked(self, generation: int) -> None:
        """Nothing to forget."""

    def lost(self, topic: str, partition: int, first: int, next_offset: int) -> None:
        """Nothing to record beyond the transport's own log line."""


class BatchConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """One message per fetched batch of a partition, with books of its own.

    Settings, set on the class by `BatchTransport`:
        listener: told about assignments and losses.
        compacted: full names of topics in which holes are normal.
        hand_over_s: longest wait for batches in hand before partitions are given up (seconds).
        log_id: a topic's id, noted in commits: a topic that is made anew has another one.

    Attributes:
        giving_up: partitions are being handed over: what cannot be finished soon should be dropped.
    """

    listener: Listener = NobodyListens()
    compacted: frozenset[str] = frozenset()
    hand_over_s: float = 20.0
    log_id: Callable[[str], str] = staticmethod(lambda topic: "")

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._generation = 0
        self._books: dict[TP, PartitionOffsets] = {}
        self._in_hand: set[Batch] = set()
        self._hands_empty = asyncio.Event()
        self._hands_empty.set()
        self._refetched: dict[TP, int] = {}
        self._notes: dict[TopicPartition, int] = {}
        """Where partitions begin whose former owner's note `released` still stands."""
        self._committing = asyncio.Lock()
        self.giving_up = False
        self._spans = note_control_batches()
        self.progress_at = time.monotonic()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- the owner's side of a batch

    @property
    def generation(self) -> int:
        """Counts assignments and revocations."""
        return self._generation

    @property
    def silence_s(self) -> float:
        """Seconds since the group last knew this worker as a member."""
        return self._thread.silence_s

    @property
    def in_hand(self) -> int:
        """Batches taken by agents and not yet done."""
        return len(self._in_hand)

    def take(self, batch: Batch) -> None:
        """See `Owner.take`."""
        if not self._in_hand:
            self.progress_at = time.monotonic()
        self._in_hand.add(batch)
        self._hands_empty.clear()

    def finish(self, batch: Batch) -> None:
        """See `Owner.finish`."""
        if batch.owned:
            books = self._books[TP(batch.topic, batch.partition)]
            books.finished(batch.first_offset, batch.next_offset)
        self.drop(batch)

    def drop(self, batch: Batch) -> None:
        """See `Owner.drop`."""
        self._in_hand.discard(batch)
        self.progress_at = time.monotonic()
        if not self._in_hand:
            self._hands_empty.set()

    # -- fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch and hand out batches until stopped; Faust's fetcher service calls this."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                for message in await self._next_messages(timeout=1.0):
                    await self.wait_first(self.callback(message), self.suspend_flow.wait())
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            # Let out in the middle of a rebalance, Faust would take the end of its fetcher for a crash.
            if not fetcher.should_stop:
                raise

    async def _next_messages(self, timeout: float) -> list[BatchMessage]:
        generation = self._generation
        records, active = await self._wait_next_records(timeout)
        messages: list[BatchMessage] = []
        dropped: list[TP] = []
        used_up = not records or await self._use_notes_up()
        for tp, chunk in (records or {}).items():
            wanted = used_up and (tp in (active or ()) or tp in self._buffered_partitions)
            if not wanted or not self.flow_active or generation != self._generation:
                dropped.append(tp)
                continue
            batch = await self._check(tp, chunk)
            if batch is not None:
                messages.append(self._envelope(tp, batch))
        await self._fetch_again(dropped)
        if not used_up:
            await asyncio.sleep(NOTE_PAUSE_S)
        return messages

    async def _fetch_again(self, dropped: list[TP]) -> None:
        """Seek back where a fetch was dropped, because it was under way while partitions changed hands.

        It may have begun before the join and ended behind the seek that followed it. Without this the
        rows would be missed only when the next record of their partition comes.
        """
        again = {TopicPartition(*tp): self._books[tp].expected for tp in dropped if tp in self._books}
        if again:
            await self._thread.seek_all(again)

    async def _check(self, tp: TP, chunk: list[Record]) -> Batch | None:
        """The batch of a fetched chunk, or None when it must be fetched again.

        Raises:
            UnexplainedHole: it does not start at the expected offset, and nobody says why.
            OffsetsWentBack: it starts below the expected offset.
        """
        books = self._books.get(tp)
        if books is None:
            return None
        lost: int | None = 0
        if books.hole_before(chunk[0].offset):
            lost = await self._explain_hole(tp, books, chunk[0].offset)
        if lost is None or self._books.get(tp) is not books:
            return None
        batch = Batch(self, tp.topic, tp.partition, chunk, self._generation, books.expected, lost)
        books.delivered(batch.first_offset, batch.next_offset)
        return batch

    async def _explain_hole(self, tp: TP, books: PartitionOffsets, first: int) -> int | None:
        """How many of the offsets from the expected one up to `first` are lost; 0 when none.

        None means: seek once more and look again. Faust itself drops rows like this at a join
        before the first commit, so a hole is a fault of the client until the broker repeats it.
        """
        kafka_tp = TopicPartition(tp.topic, tp.partition)
        if self._refetched.get(tp) != books.expected:
            self._refetched[tp] = books.expected
            start = (await self._thread.starts([kafka_tp]))[kafka_tp]
            await self._thread.seek_all({kafka_tp: max(books.expected, start.log_start)})
            return None
        if first < books.expected:
            raise OffsetsWentBack(tp.topic, tp.partition, books.expected, first)
        if tp.topic in self.compacted:
            return 0
        log_start = (await self._thread.starts([kafka_tp]))[kafka_tp].log_start
        begin = max(books.expected, min(log_start, first))
        if self._spans.reach(tp.topic, tp.partition, begin) < first:
            raise UnexplainedHole(tp.topic, tp.partition, begin, first)
        if begin > books.expected:
            self.listener.lost(tp.topic, tp.partition, books.expected, begin)
        return begin - books.expected

    def _envelope(self, tp: TP, batch: Batch) -> BatchMessage:
        message = BatchMessage(
            tp.topic,
            tp.partition,
            batch.first_offset,
            0.0,
            0,
            [],
            None,
            b"",
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        message.batch = batch
        return message

    # -- assignments

    async def perform_seek(self) -> None:
        """Begin every assigned partition at an explicit offset, new books for each.

        Faust's own version leaves partitions that never had a commit where they are: rows fetched
        before the join was complete are then dropped and committed past, without any crash.
        """
        tps = [TopicPartition(tp.topic, tp.partition) for tp in self.assignment()]
        starts = {TP(tp.topic, tp.partition): start for tp, start in (await self._thread.starts(tps)).items()}
        generation = self._new_generation()
        self._thread.touch()
        for tp, start in starts.items():
            self._books[tp] = PartitionOffsets(start.offset)
            if start.offset > start.log_end:
                raise OffsetsWentBack(tp.topic, tp.partition, start.offset, start.log_end)
        # told before anything can be fetched: a batch that finds no gate would be judged unrestored
        self.listener.assigned(generation, starts, self.app.consumer_generation_id <= 1)
        # below the log's start the first fetch comes back with a hole, and the hole with its reason
        await self._thread.seek_all(
            {TopicPartition(tp.topic, tp.partition): max(s.offset, s.log_start) for tp, s in starts.items()}
        )
        self._notes = {TopicPartition(*tp): start.offset for tp, start in starts.items() if start.released}
        await self._use_notes_up()

    async def _use_notes_up(self) -> bool:
        """Take the former owner's notes away: whoever follows a death of this one must wait.

        False while that does not succeed: nothing may be handed out, and so nothing stored, under a note
        that would tell the next owner that nobody stores anything any more.
        """
        async with self._committing:
            notes = self._notes
            if notes and await self._thread.commit_offsets(notes, released=False) and self._notes is notes:
                self._notes = {}
        return not self._notes

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust seeks only where there is something to seek; the listener hears of nothing, too."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            await self.perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what is in hand, within bounds, then forget the generation.

        What waits in buffers or at a gate is dropped unjudged: the next owner fetches it again.
        """
        await self.hand_over()
        await super().on_partitions_revoked(revoked)

    async def hand_over(self) -> None:
        """Stop the flow, wait for the batches in hand, commit, and end the generation.

        A thread that crashed commits no more: whoever waited would only delay the next owner.
        """
        self.stop_flow()
        self.giving_up = True
        if not self._thread.crashed:
            await self._empty_hands()
            await self._last_commit()
        self.listener.revoked(self._generation)
        self._new_generation()
        self.giving_up = False

    async def _empty_hands(self) -> None:
        try:
            await asyncio.wait_for(self._hands_empty.wait(), self.hand_over_s)
        except TimeoutError:
            log.warning("handed_over_with_batches_in_hand", batches=len(self._in_hand))

    async def _last_commit(self) -> None:
        """Commit within bounds: the broker may be away."""
        try:
            await asyncio.wait_for(self._commit_books(released=not self._in_hand), LAST_COMMIT_S)
        except TimeoutError:
            log.warning("handed_over_without_commit")

    def _new_generation(self) -> int:
        self._generation += 1
        self._books.clear()
        self._refetched.clear()
        self._notes = {}
        self._in_hand.clear()
        self._hands_empty.set()
        return self._generation

    async def on_stop(self) -> None:
        """Clean shutdown: the batches in hand are stored and committed first."""
        await self.hand_over()

    # -- commits

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is finished; Faust's commit task calls this every commit interval."""
        return await self._commit_books(released=False)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Same as `commit`: there is one way to commit."""
        return await self._commit_books(released=False)

    async def _commit_books(self, released: bool) -> bool:
        async with self._committing:  # a commit beside the last one of a generation would follow it late
            return await self._commit_now(released)

    async def _commit_now(self, released: bool) -> bool:
        generation = self._generation
        offsets = {tp: books.committable() for tp, books in self._books.items()}
        wanted = {tp: offset for tp, offset in offsets.items() if offset is not None}
        if released:
            wanted = {tp: wanted.get(tp, books.committed) for tp, books in self._books.items()}
        if not wanted:
            return False
        kafka = {TopicPartition(tp.topic, tp.partition): offset for tp, offset in wanted.items()}
        if not await self._thread.commit_offsets(kafka, released):
            return False
        if generation == self._generation:
            for tp, offset in wanted.items():
                self._books[tp].committed = offset
        return True

    def ack(self, message: Any) -> bool:
        """Faust's acknowledgement means nothing here: it comes for skipped events too."""
        return False

    def track_message(self, message: Any) -> None:
        """Faust's list of unacknowledged messages stays empty: it would wait for events it skipped."""

    async def wait_empty(self) -> None:
        """Handing over waits for the batches in hand; nothing else is waited for."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """See `BatchConsumerThread.verify_event_path`."""

    async def know_topics(self) -> None:
        """See `BatchConsumerThread.know_topics`."""
        await self._thread.know_topics()

    def positions(self) -> Iterable[tuple[TP, int]]:
        """For lag: each partition and the first offset that is not finished."""
        return [(tp, books.committable() or books.committed) for tp, books in self._books.items()]
