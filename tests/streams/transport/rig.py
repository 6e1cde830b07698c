"""A topic of a test's own, and a member of its group in the test's process."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from faust.types import TP

from streams.app import Handle, add_agents, consumer_of, make_app
from streams.config import WorkerConfig
from streams.transport import Batch
from streams.transport.consumer import BatchConsumer
from streams.transport.thread import Start
from tests.support.workers import wait_until

LIMIT_S = 60.0


class Topic:
    """A fresh topic of the shared broker, and what a test does to it from outside."""

    def __init__(self, kafka: str, partitions: int = 1, **config: str) -> None:
        self.kafka = kafka
        self.name = f"x{secrets.token_hex(4)}.rows"
        self.group = f"g-{self.name}"
        self.sent = 0
        self.log_id = ""
        self.admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
        self.create(partitions, **config)

    def create(self, partitions: int = 1, **config: str) -> None:
        """Make the topic."""
        self.admin.create_topics([NewTopic(self.name, partitions, 1, config=config)])[self.name].result(10)

    def delete(self) -> None:
        """Delete the topic with everything in it."""
        self.admin.delete_topics([self.name])[self.name].result(10)

    def send(
        self, numbers: Sequence[int], partition: int = 0, key: bytes | None = None, **config: Any
    ) -> None:
        """Append numbered records to a partition; returns when all are acknowledged."""
        producer = Producer({"bootstrap.servers": self.kafka, "linger.ms": 1, "log_level": 0, **config})
        for number in numbers:
            producer.produce(self.name, b"%d" % number, key or b"%d" % number, partition)
        assert producer.flush(LIMIT_S) == 0
        self.sent += len(numbers)

    def stored_offsets(self) -> list[int]:
        """Offsets of the records that the first partition has now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka,
                "group.id": "looker",
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(self.name, 0, OFFSET_BEGINNING)])
        found: list[int] = []
        while (message := consumer.poll(LIMIT_S)) is not None and message.error() is None:
            found.append(message.offset() or 0)
        consumer.close()
        return found

    def transaction(self, numbers: Sequence[int], *, commit: bool) -> None:
        """Append numbered records in one transaction; its marker takes up an offset of its own."""
        producer = Producer(
            {"bootstrap.servers": self.kafka, "transactional.id": secrets.token_hex(4), "log_level": 0}
        )
        producer.init_transactions(LIMIT_S)
        producer.begin_transaction()
        for number in numbers:
            producer.produce(self.name, b"%d" % number, b"%d" % number, 0)
        producer.flush(LIMIT_S)
        producer.commit_transaction(LIMIT_S) if commit else producer.abort_transaction(LIMIT_S)

    def delete_before(self, offset: int, partition: int = 0) -> None:
        """Delete records as retention does."""
        asked = TopicPartition(self.name, partition, offset)
        for future in self.admin.delete_records([asked]).values():
            assert future.result(10).low_watermark >= offset

    def committed(self) -> dict[int, int]:
        """Committed offset of each partition that has a commit."""
        asked = ConsumerGroupTopicPartitions(self.group)
        found = self.admin.list_consumer_group_offsets([asked])[self.group].result(10)
        return {tp.partition: tp.offset for tp in found.topic_partitions or [] if tp.offset >= 0}

    async def commits(self) -> dict[int, tuple[int, str]]:
        """The same with metadata, read by aiokafka: confluent-kafka does not end the text where it ends."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(self.group)
        finally:
            await admin.close()
        return {tp.partition: (commit.offset, commit.metadata) for tp, commit in found.items()}

    def commit(self, offset: int, partition: int = 0) -> None:
        """Set the group's offset while nobody is in it."""
        set_commit(self.admin, self.group, self.name, partition, offset)


def set_commit(admin: AdminClient, group: str, topic: str, partition: int, offset: int) -> None:
    """Set a group's offset from outside; again until the broker has loaded the group."""

    def done() -> bool:
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
        answer = admin.alter_consumer_group_offsets([asked])[group].result(10)
        return all(tp.error is None for tp in answer.topic_partitions or [])

    wait_until(done, LIMIT_S, "the commit")


class Heard:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.starts: dict[int, Start] = {}
        self.generations: list[int] = []
        self.first: list[bool] = []
        self.ended: list[int] = []
        self.losses: list[tuple[int, int, int]] = []

    def assigned(self, generation: int, starts: Mapping[TP, Start], first_member: bool) -> None:
        self.generations.append(generation)
        self.first.append(first_member)
        self.starts = {tp.partition: start for tp, start in starts.items()}

    def revoked(self, generation: int) -> None:
        self.ended.append(generation)

    def lost(self, topic: str, partition: int, first: int, next_offset: int) -> None:
        self.losses.append((partition, first, next_offset))


class Rig:
    """One member of the topic's group, in this process.

    Attributes:
        batches: every batch the agent was given, in order.
        finish: whether the agent calls `done`; a test that says no ends batches by itself.
        failures: what would have ended the process.
    """

    def __init__(
        self, topic: Topic, *, finish: bool = True, compacted: bool = False, agent: bool = True,
        handle: Handle | None = None, listener: Any = None, **config: Any,
    ) -> None:  # fmt: skip
        self.topic = topic
        self.finish = finish
        self.heard = listener or Heard()
        self.batches: list[Batch] = []
        self.failures: list[BaseException] = []
        self._changed = asyncio.Condition()
        settings = WorkerConfig(
            kafka=topic.kafka, topic_prefix="", group=topic.group, name="test", clickhouse_url="",
            database="", pseudonym_secret=b"", seal_secret=b"",
            **{"session_timeout_s": 6.0, "heartbeat_s": 0.3, "commit_interval_s": 0.1,
               "rebalance_timeout_s": 10.0, **config},
        )  # fmt: skip
        self.app: faust.App = make_app(
            settings,
            self.heard,
            frozenset({topic.name}) if compacted else frozenset(),
            Path(mkdtemp()),
            lambda name: topic.log_id,
        )
        if agent:
            add_agents(self.app, {(topic.name,): handle or self._take}, self.failures.append)

    async def _take(self, batch: Batch) -> None:
        if not batch.take():
            return
        async with self._changed:
            self.batches.append(batch)
            self._changed.notify_all()
        if self.finish:
            batch.done()

    @property
    def consumer(self) -> BatchConsumer:
        """The transport's consumer."""
        return consumer_of(self.app)

    @property
    def values(self) -> list[int]:
        """Numbers of all records the agent was given, in order."""
        return [int(record.value or b"-1") for batch in self.batches for record in batch.records]

    @property
    def offsets(self) -> list[int]:
        """Offsets of all records the agent was given, in order."""
        return [record.offset for batch in self.batches for record in batch.records]

    async def got(self, count: int) -> None:
        """Return when the agent was given `count` records."""
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.values) >= count)

    async def crashed(self) -> None:
        """Wait for Faust's crash, and raise its reason."""
        await until(lambda: self.app.crashed, "crash")
        raise self.app._crash_reason  # type: ignore[misc]


async def until(condition: Callable[[], Any], what: str = "condition", limit_s: float = LIMIT_S) -> Any:
    """The first true value of a condition, which may block for a moment."""
    async with asyncio.timeout(limit_s):
        while not (found := await asyncio.to_thread(condition)):  # noqa: ASYNC110 - looks at the broker
            await asyncio.sleep(0.02)
    return found


@contextlib.asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    """The rig as a member of its group, from its first assignment to its clean end."""
    await rig.app.start()
    try:
        if hasattr(rig.heard, "generations"):
            await until(lambda: rig.heard.generations or rig.app.crashed, "assignment")
        yield rig
    finally:
        await rig.app.stop()
