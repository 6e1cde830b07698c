"""The four real parts: what they promise to their clients, and what they keep through a crash."""

from __future__ import annotations

import io
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from sunledger.embedded import s3
from sunledger.embedded.errors import StackBusy
from sunledger.embedded.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), parts=["kafka", "redis", "s3"]) as stack:
        yield stack


def topic_id(admin: AdminClient, topic: str) -> str:
    [described] = admin.describe_topics(TopicCollection([topic])).values()
    return str(described.result().topic_id)


def test_kafka_keeps_data_through_kill(stack: Stack) -> None:
    """Acknowledged messages and the topic id are there after kill -9, at the same address."""
    admin = AdminClient({"bootstrap.servers": stack.endpoints.kafka})
    topic = f"t-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result()
    identity = topic_id(admin, topic)
    producer = Producer({"bootstrap.servers": stack.endpoints.kafka, "acks": "all"})
    for number in range(1000):
        producer.produce(topic, str(number).encode(), partition=number % 2)
    assert producer.flush(30) == 0
    before = stack.endpoints.kafka
    stack.kill("kafka")
    assert not stack.is_running("kafka")
    stack.start("kafka")
    assert stack.endpoints.kafka == before
    assert topic_id(admin, topic) == identity
    consumer = Consumer({"bootstrap.servers": before, "group.id": "g", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(2)])
    seen: set[int] = set()
    while len(seen) < 1000:
        message = consumer.poll(30)
        assert message is not None
        if message.error() is None:
            seen.add(int(message.value()))
    consumer.close()


def test_kafka_makes_no_topics_by_itself(stack: Stack) -> None:
    """A message to an unknown topic fails instead of creating it."""
    producer = Producer({"bootstrap.servers": stack.endpoints.kafka, "topic.metadata.propagation.max.ms": 0})
    errors: list[int] = []
    producer.produce("never-made", b"x", on_delivery=lambda error, _: errors.append(error.code()))
    producer.flush(30)
    assert errors == [KafkaError.UNKNOWN_TOPIC_OR_PART]


def test_kafka_paused_and_resumed(stack: Stack) -> None:
    """A stopped broker answers nobody; resumed, it answers again."""
    stack.pause("kafka")
    try:
        with pytest.raises(KafkaException):
            AdminClient({"bootstrap.servers": stack.endpoints.kafka, "log_level": 0}).list_topics(timeout=1)
    finally:
        stack.resume("kafka")
    stack.wait_ready("kafka")


def test_s3_objects(stack: Stack) -> None:
    """Put, get, metadata, ETag, list with prefix, conditional copy, multipart and delete."""
    endpoint = stack.endpoints.s3
    client = s3.client(endpoint.url, endpoint.access_key, endpoint.secret_key)
    client.create_bucket(Bucket="payments")
    client.put_object(Bucket="payments", Key="in/a (1) é.csv", Body=b"x,y\n", Metadata={"from": "test"})
    got = client.get_object(Bucket="payments", Key="in/a (1) é.csv")
    assert got["Body"].read() == b"x,y\n"
    assert got["Metadata"] == {"from": "test"}
    source = {"Bucket": "payments", "Key": "in/a (1) é.csv"}
    client.copy_object(
        Bucket="payments", Key="Processed/a.csv", CopySource=source, CopySourceIfMatch=got["ETag"]
    )
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.copy_object(Bucket="payments", Key="b", CopySource=source, CopySourceIfMatch='"other"')
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket="payments", Key="Processed/a.csv", Body=b"", IfNoneMatch="*")
    large = b"0123456789abcdef" * (1 << 20)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    client.upload_fileobj(io.BytesIO(large), "payments", "in/large", Config=config)
    assert client.get_object(Bucket="payments", Key="in/large")["Body"].read() == large
    listed = client.list_objects_v2(Bucket="payments", Prefix="in/")["Contents"]
    assert [entry["Key"] for entry in listed] == ["in/a (1) é.csv", "in/large"]
    assert listed[0]["ETag"] == got["ETag"]
    client.delete_object(Bucket="payments", Key="in/large")
    stack.kill("s3")
    stack.start("s3")
    assert client.head_object(Bucket="payments", Key="Processed/a.csv")["ETag"] == got["ETag"]


def test_s3_wrong_keys(stack: Stack) -> None:
    """A wrong secret and an unknown access key are refused."""
    endpoint = stack.endpoints.s3
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3.client(endpoint.url, endpoint.access_key, "wrong").list_buckets()
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3.client(endpoint.url, "wrong", endpoint.secret_key).list_buckets()


def test_redis_needs_its_password_and_keeps_data(stack: Stack) -> None:
    """Nobody gets in without the password; a clean restart keeps the keys."""
    with redis.Redis.from_url(stack.endpoints.redis) as client:
        client.set("key", "value")
    stack.restart("redis")
    with redis.Redis.from_url(stack.endpoints.redis) as client:
        assert client.get("key") == b"value"
    with redis.Redis(port=stack.ports["redis"]) as client, pytest.raises(redis.AuthenticationError):
        client.get("key")


def test_secrets_are_private(stack: Stack) -> None:
    """Files that hold a secret are readable by their owner only, and no command line shows one."""
    root = stack.layout.root
    for path in (root / "credentials.json", root / "s3" / "s3proxy.conf", root / "redis" / "valkey.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    command = Path(f"/proc/{stack.pid('s3')}/cmdline").read_bytes().decode()
    assert stack.endpoints.s3.secret_key not in command


def test_one_stack_per_folder(stack: Stack) -> None:
    """A second stack over the same folder is refused while the first one runs."""
    with pytest.raises(StackBusy):
        Stack(stack.layout.root, parts=["redis"]).start()


def test_ports_and_credentials_stay(tmp_path: Path) -> None:
    """The same folder gives the same addresses and secrets at the next start."""
    with Stack(tmp_path, parts=["redis"]) as first:
        endpoints = first.endpoints
    with Stack(tmp_path, parts=["redis"]) as second:
        assert second.endpoints == endpoints
