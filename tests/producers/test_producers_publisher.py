"""The way into the topics, on a real broker: acknowledged, in its place, or refused in time."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from producers import publisher as publisher_module
from producers.errors import BrokerUnavailable, PublisherFull, RecordTooLarge, TopicMisconfigured
from producers.publisher import Publisher, Record
from producers.topics import create_topics
from schemas.identity import partition_of
from schemas.topics import PAYMENTS, READS, REGISTRY, TOPICS
from sunledger.embedded.stack import Endpoints, Stack

SLOW_DAY_S = 10
"""What a limit of 2 s may become on a busy machine; librdkafka left to itself waits five minutes."""


@pytest.fixture
def publisher(endpoints: Endpoints) -> Iterator[Publisher]:
    """A publisher as the API has it."""
    made = Publisher(endpoints.kafka)
    yield made
    made.close(1)


@pytest.fixture
def topic(kafka_prefix: str) -> str:
    """A payments topic with four partitions."""
    return PAYMENTS.full_name(kafka_prefix)


def records_of(kafka: str, topic: str) -> list[tuple[int, bytes, bytes, list[tuple[str, bytes]]]]:
    """Partition, key, value and headers of every record of a topic."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "none", "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1] for p in partitions]
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        messages = [consumer.poll(10) for _ in range(sum(ends))]
        return [(m.partition(), m.key(), m.value(), m.headers() or []) for m in messages]
    finally:
        consumer.close()


def some(topic: str, count: int) -> list[Record]:
    """Records with different keys."""
    return [Record(topic, f"k{at}".encode(), b"{}", [("a", b"b")]) for at in range(count)]


async def test_published_records_are_where_their_home_is(
    publisher: Publisher, endpoints: Endpoints, topic: str
) -> None:
    """After `publish_all` every record is in the topic, in the partition of its key's home."""
    await publisher.publish_all(some(topic, 50), 10)
    found = records_of(endpoints.kafka, topic)
    assert len(found) == 50
    assert all(partition == partition_of(key.decode(), 4) for partition, key, _, _ in found)
    assert found[0][3] == [("a", b"b")]
    assert publisher.waiting == 0


async def test_partition_can_be_named(publisher: Publisher, endpoints: Endpoints, topic: str) -> None:
    """A record may name its partition."""
    await publisher.publish_all([record._replace(partition=2) for record in some(topic, 3)], 10)
    assert {partition for partition, *_ in records_of(endpoints.kafka, topic)} == {2}


async def test_nothing_to_publish(publisher: Publisher) -> None:
    """No records need no broker."""
    await publisher.publish_all([], 0.001)


async def test_many_requests_at_once(publisher: Publisher, endpoints: Endpoints, topic: str) -> None:
    """Requests of one process do not get in each other's way."""
    await asyncio.gather(*[publisher.publish_all(some(topic, 5), 10) for _ in range(40)])
    assert len(records_of(endpoints.kafka, topic)) == 200


async def test_unknown_topic(publisher: Publisher, kafka_prefix: str) -> None:
    """A topic that is not there is told within the limit; none is created."""
    with pytest.raises(BrokerUnavailable):
        await publisher.publish_all(some(f"{kafka_prefix}nope", 1), 4)


async def test_record_that_is_too_large(publisher: Publisher, topic: str) -> None:
    """A record that no topic takes is told apart from an outage."""
    with pytest.raises(RecordTooLarge):
        await publisher.publish_all([Record(topic, b"k", b"x" * 1_100_000)], 10)


async def test_full_buffer(publisher: Publisher, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records than may wait are refused as a whole."""
    monkeypatch.setattr(publisher_module, "MAX_WAITING", 3)
    with pytest.raises(PublisherFull):
        await publisher.publish_all(some(topic, 4), 10)


async def test_broker_away_is_told_in_time_and_comes_back_by_itself(
    stack: Stack, endpoints: Endpoints, topic: str
) -> None:
    """With the broker away a request fails within its limit; when it is back the next one succeeds."""
    publisher = Publisher(endpoints.kafka, delivery_timeout_s=1.0)
    try:
        await _until_acknowledged(publisher, topic)
        stack.pause("kafka")
        try:
            for limit in (2.0, 0.3):
                started = time.monotonic()
                with pytest.raises(BrokerUnavailable):
                    await publisher.publish_all(some(topic, 1), limit)
                assert time.monotonic() - started < SLOW_DAY_S
        finally:
            stack.resume("kafka")
        await _until_acknowledged(publisher, topic)
    finally:
        publisher.close(0)


async def _until_acknowledged(publisher: Publisher, topic: str) -> None:
    """Publish one record as often as it takes: a busy machine's broker may need longer than the limit."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await publisher.publish_all(some(topic, 1), 2)
        except BrokerUnavailable:
            assert time.monotonic() < deadline


async def test_broker_that_never_was_there() -> None:
    """Without any broker a request fails within its limit, and closing does not hang."""
    publisher = Publisher("127.0.0.1:9", delivery_timeout_s=0.5)
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await publisher.publish_all(some("payments", 1), 1)
    publisher.close(0.2)
    assert time.monotonic() - started < 6


def test_group_counts_acknowledgements(publisher: Publisher, endpoints: Endpoints, topic: str) -> None:
    """A group returns after its last record is acknowledged, and says how many there were."""
    group = publisher.group()
    for record in some(topic, 500):
        group.add_waiting(record, 10)
    assert group.wait(10) == 500
    assert len(records_of(endpoints.kafka, topic)) == 500


def test_group_with_one_failure_fails(publisher: Publisher, topic: str) -> None:
    """One record that is not acknowledged fails the group."""
    group = publisher.group()
    group.add_waiting(some(topic, 1)[0], 10)

    def no_such_partition() -> None:
        group.add_waiting(Record(topic, b"k", b"{}", partition=99), 10)
        group.wait(10)

    with pytest.raises(BrokerUnavailable):
        no_such_partition()


def test_group_waits_for_room(publisher: Publisher, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the buffer is full a file waits, asks whether to go on, and gives up at its deadline."""
    asked = []

    def full(*_: object) -> None:
        raise PublisherFull

    monkeypatch.setattr(publisher, "publish", full)
    group = publisher.group(lambda: asked.append(1))
    with pytest.raises(BrokerUnavailable):
        group.add_waiting(some(topic, 1)[0], 0.2)
    assert asked


def test_closing_ends_all_threads(endpoints: Endpoints, topic: str) -> None:
    """A closed publisher leaves no thread behind, and may be closed again and used anew."""
    before = len(os.listdir("/proc/self/task"))
    publisher = Publisher(endpoints.kafka)
    for _ in range(2):
        asyncio.run(publisher.publish_all(some(topic, 1), 10))
        publisher.flush(5)
        publisher.close(1)
    publisher.close(1)
    assert len(os.listdir("/proc/self/task")) <= before + 1  # the loop's own worker thread may linger


def test_connection_is_made_anew_after_a_fatal_error(
    publisher: Publisher, endpoints: Endpoints, topic: str
) -> None:
    """A producer that librdkafka has given up is replaced; nobody has to restart the process."""
    asyncio.run(publisher.publish_all(some(topic, 1), 10))
    first = publisher._connected()
    first.fatal = True
    asyncio.run(publisher.publish_all(some(topic, 1), 10))
    assert publisher._connected() is not first
    assert len(records_of(endpoints.kafka, topic)) == 2


def test_stale_number_of_partitions_is_better_than_none(
    publisher: Publisher, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once learnt, the partitions are used on while the broker does not answer."""
    assert publisher.partitions(topic) == 4
    monkeypatch.setattr(publisher_module, "_PARTITIONS_AGE_S", -1.0)

    def no_answer(_: str) -> int:
        raise BrokerUnavailable

    monkeypatch.setattr(publisher._connected(), "partitions", no_answer)
    assert publisher.partitions(topic) == 4


def test_librdkafka_does_not_write_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    """What librdkafka has to say goes to the log, never to the program's output."""
    publisher = Publisher("127.0.0.1:9", delivery_timeout_s=0.2)
    with pytest.raises(BrokerUnavailable):
        publisher.partitions("payments")
    publisher.close(0)
    assert "FAIL" not in capfd.readouterr().err


def test_topics_are_created_as_the_registry_says(endpoints: Endpoints) -> None:
    """Creating is repeatable, and every topic has its partitions and settings."""
    prefix = f"t{secrets.token_hex(4)}."
    for _ in range(2):
        create_topics(endpoints.kafka, prefix)
    known = AdminClient({"bootstrap.servers": endpoints.kafka}).list_topics(timeout=10).topics
    for spec in TOPICS:
        assert len(known[spec.full_name(prefix)].partitions) == spec.partitions


@pytest.mark.parametrize(
    ("spec", "partitions", "config"),
    [
        (PAYMENTS, 4, {"message.timestamp.type": "CreateTime"}),
        (READS, 4, {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"}),
        (REGISTRY["projects"], 3, REGISTRY["projects"].config()),
    ],
)
def test_topics_that_would_lose_records_are_refused(
    endpoints: Endpoints, spec: object, partitions: int, config: dict[str, str]
) -> None:
    """A topic with event time as record time, wrong clean-up or too many partitions stops the start."""
    prefix = f"t{secrets.token_hex(4)}."
    admin = AdminClient({"bootstrap.servers": endpoints.kafka})
    name = spec.full_name(prefix)  # type: ignore[attr-defined]
    admin.create_topics([NewTopic(name, num_partitions=partitions, config=config)])[name].result()
    with pytest.raises(TopicMisconfigured, match=name):
        create_topics(endpoints.kafka, prefix)


def test_creating_topics_without_a_broker() -> None:
    """Without a broker the attempt ends at its limit."""
    with pytest.raises(BrokerUnavailable):
        create_topics("127.0.0.1:9", timeout_s=0.5)
