"""The consumer: fetches, checks that nothing is missing, hands out batches, commits what is done."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from aiokafka.structs import TopicPartition
from faust.transport.drivers.aiokafka import Consumer as AIOKafkaConsumer
from faust.types import TP, ConsumerMessage

from streams.transport.batch import Batch, Record
from streams.transport.books import Books
from streams.transport.hands import Hands
from streams.transport.holes import Holes
from streams.transport.listener import Listener, NobodyListens
from streams.transport.thread import BatchConsumerThread

log = structlog.get_logger(__name__)

NOTE_PAUSE_S = 0.2
"""Pause before rows are fetched again, while the former owner's note cannot be used up."""
LAST_COMMIT_S = 5.0
"""Longest wait for the commit with which partitions are given up."""


class BatchMessage(ConsumerMessage):  # type: ignore[misc]
    """Faust's envelope around a batch."""

    batch: Batch


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
        self._hands = Hands()
        self.giving_up = False
        super().__init__(*args, **kwargs)
        self._books = Books(self._thread)
        self._holes = Holes(self._thread, self.compacted, self.listener)

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
        return len(self._hands)

    @property
    def progress_at(self) -> float:
        """See `Hands.moved_at`."""
        return self._hands.moved_at

    def take(self, batch: Batch) -> None:
        """See `Owner.take`."""
        self._hands.take(batch)

    def finish(self, batch: Batch) -> None:
        """See `Owner.finish`."""
        if batch.owned:
            self._books.finished(TP(batch.topic, batch.partition), batch.first_offset, batch.next_offset)
        self._hands.drop(batch)

    def drop(self, batch: Batch) -> None:
        """See `Owner.drop`."""
        self._hands.drop(batch)

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
        used_up = not records or await self._books.use_notes_up()
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
        books = {tp: self._books.get(tp) for tp in dropped}
        again = {TopicPartition(*tp): known.expected for tp, known in books.items() if known}
        if again:
            await self._thread.seek_all(again)

    async def _check(self, tp: TP, chunk: list[Record]) -> Batch | None:
        """The batch of a fetched chunk, or None when it must be fetched again.

        Raises: what `Holes.explain` does, when it does not start at the expected offset.
        """
        books = self._books.get(tp)
        if books is None:
            return None
        lost: int | None = 0
        if books.hole_before(chunk[0].offset):
            lost = await self._holes.explain(tp, books, chunk[0].offset)
        if lost is None or self._books.get(tp) is not books:
            return None
        batch = Batch(self, tp.topic, tp.partition, chunk, self._generation, books.expected, lost)
        books.delivered(batch.first_offset, batch.next_offset)
        return batch

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
        self._books.begin(starts)
        # told before anything can be fetched: a batch that finds no gate would be judged unrestored
        self.listener.assigned(generation, starts, self.app.consumer_generation_id <= 1)
        # below the log's start the first fetch comes back with a hole, and the hole with its reason
        await self._thread.seek_all(
            {TopicPartition(tp.topic, tp.partition): max(s.offset, s.log_start) for tp, s in starts.items()}
        )
        await self._books.use_notes_up()

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
            if not await self._hands.empty(self.hand_over_s):
                log.warning("handed_over_with_batches_in_hand", batches=self.in_hand)
            await self._last_commit()
        self.listener.revoked(self._generation)
        self._new_generation()
        self.giving_up = False

    async def _last_commit(self) -> None:
        """Commit within bounds: the broker may be away."""
        try:
            await asyncio.wait_for(self._books.commit(released=not self.in_hand), LAST_COMMIT_S)
        except TimeoutError:
            log.warning("handed_over_without_commit")

    def _new_generation(self) -> int:
        self._generation += 1
        self._books.forget()
        self._holes.forget()
        self._hands.forget()
        return self._generation

    async def on_stop(self) -> None:
        """Clean shutdown: the batches in hand are stored and committed first."""
        await self.hand_over()

    # -- commits

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what is finished; Faust's commit task calls this every commit interval."""
        return await self._books.commit(released=False)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Same as `commit`: there is one way to commit."""
        return await self._books.commit(released=False)

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
        """For lag: see `Books.positions`."""
        return list(self._books.positions())
