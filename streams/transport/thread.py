"""The consumer's thread: everything that touches aiokafka runs on its loop."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

log = structlog.get_logger(__name__)

RELEASED = "released"
"""Noted in the commit of a worker that gave the partition up in good order, with nothing in hand."""


def commit_note(released: bool, log_id: str) -> str:
    """Metadata of a commit: whether the partition was released, and of which log the offset is."""
    return f"{RELEASED if released else ''}:{log_id}"


def read_note(metadata: str) -> tuple[bool, str]:
    """Whether the partition was released, and the log's id; empty when somebody else committed."""
    note, _, log_id = metadata.partition(":")
    return note == RELEASED, log_id


@dataclass(frozen=True, slots=True)
class Start:
    """Where an assigned partition begins.

    Attributes:
        offset: first offset to fetch: the committed one or, without a commit, the log's first.
        committed: the group's committed offset, None when there never was one.
        log_start: first offset that the broker still has.
        released: the last owner gave the partition up in good order.
    """

    offset: int
    committed: int | None
    log_start: int
    log_end: int
    released: bool


class BatchConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's aiokafka thread with explicit positions, forgiving commits and a heartbeat clock."""

    _last_contact: float = 0.0

    async def on_start(self) -> None:
        await super().on_start()
        self._watch_heartbeats()

    def _watch_heartbeats(self) -> None:
        """Note the time of every heartbeat that the group's coordinator answered well.

        aiokafka keeps this time in a local variable of its heartbeat routine.
        """
        coordinator = self._ensure_consumer()._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> Any:
            asked = time.monotonic()
            alive = await beat()
            if alive:
                self._last_contact = asked
            return alive

        coordinator._do_heartbeat = noted

    def touch(self) -> None:
        """An assignment is proof of membership like a heartbeat."""
        self._last_contact = time.monotonic()

    @property
    def silence_s(self) -> float:
        """Seconds since the group last knew this worker as a member."""
        return time.monotonic() - self._last_contact

    async def starts(self, tps: Iterable[TopicPartition]) -> Mapping[TopicPartition, Start]:
        """Where each partition begins, asked from the broker at this moment."""
        found: Mapping[TopicPartition, Start] = await self.call_thread(self._starts, list(tps))
        return found

    async def _starts(self, tps: list[TopicPartition]) -> dict[TopicPartition, Start]:
        consumer = self._ensure_consumer()
        if not tps:
            return {}
        commits = await consumer._coordinator.fetch_committed_offsets(tps)
        first = await consumer.beginning_offsets(tps)
        last = await consumer.end_offsets(tps)
        starts = {}
        for tp in tps:
            commit = commits.get(tp)
            released, log_id = read_note(commit.metadata if commit is not None else "")
            # an offset of a log that was deleted says nothing about the one of the same name
            mine = (
                commit is not None and commit.offset >= 0 and log_id in ("", self.consumer.log_id(tp.topic))
            )
            starts[tp] = Start(
                offset=commit.offset if mine else first[tp],
                committed=commit.offset if mine else None,
                log_start=first[tp],
                log_end=last[tp],
                released=released,
            )
        return starts

    async def seek_all(self, positions: Mapping[TopicPartition, int]) -> None:
        """Set the fetch position of every partition named; what was prefetched is thrown away."""
        await self.call_thread(self._seek_all, dict(positions))

    async def _seek_all(self, positions: dict[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in positions.items():
            if tp in consumer.assignment():
                consumer.seek(tp, offset)

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int], released: bool) -> bool:
        """Commit; False when the group has moved on or the broker is away (it is tried again)."""
        done: bool = await self.call_thread(self._commit_offsets, dict(offsets), released)
        return done

    async def _commit_offsets(self, offsets: dict[TopicPartition, int], released: bool) -> bool:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        mine = {
            tp: OffsetAndMetadata(offset, commit_note(released, self.consumer.log_id(tp.topic)))
            for tp, offset in offsets.items()
            if tp in assigned
        }
        if not mine:
            return False
        try:
            await consumer.commit(mine)
        except (CommitFailedError, IllegalStateError) as exc:
            # the partitions went elsewhere meanwhile: whoever has them fetches the rows again
            log.info("commit_refused", error=type(exc).__name__)
            return False
        except KafkaError as exc:
            if not exc.retriable:
                raise
            log.warning("commit_postponed", error=type(exc).__name__)
            return False
        return True

    async def know_topics(self) -> None:
        """Ask for the metadata of subscribed topics of which the client knows no partitions.

        A broker that has just started may answer before it knows its topics. Who leads the group then assigns
        nothing to anybody, and aiokafka asks again after five minutes; what it learns makes it join anew.
        """
        await self.call_thread(self._know_topics)

    async def _know_topics(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        unknown = [
            topic
            for topic in consumer.subscription()
            if not consumer._client.cluster.partitions_for_topic(topic)
        ]
        if unknown:
            log.warning("partitions_unknown", topics=sorted(unknown))
            await consumer._client.force_metadata_update()

    def verify_event_path(self, now: float, tp: TopicPartition) -> None:
        """Faust's detector of slow streams counts messages; the worker's own watchdog counts batches."""
