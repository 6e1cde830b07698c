"""A bucket, a topic and a poller between them, and ways to let it die at any of its steps."""

import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import orjson
from botocore.client import Config
from confluent_kafka import Consumer, KafkaException, TopicPartition
from memory_store import Datasets, MemoryRunStore, numbers

from producers import s3_intake
from producers.addresses import Hosts
from producers.contracts import Dataset, RunState, S3Location
from producers.poller import Poller
from producers.publisher import Publisher
from producers.rows import RowRecords
from producers.s3 import Bucket
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS

NAME = "ELECTRICITY_PAYMENT.csv"
SECRET = b"0123456789abcdef0123456789abcdef"
SEAL_SECRET = b"fedcba9876543210fedcba9876543210"
ORG = "org_a"
HEADER = (
    "ID,TIMESTAMP,PAYMENT_AMOUNT,PAYMENT_CURRENCY,TRANSACTION_TYPE,CUSTOMER_ID,METER_ID,CUSTOMER_NAME,"
    "CUSTOMER_PHONE,NOTES"
)


def line(number: int) -> str:
    """A good row of the sample file."""
    return (
        f"UC{number},2021-05-16T14:16:01,5000,Naira,FULL_PAYMENT,C{number},M{number},"
        f"John Doe {number},+234000{number},call Jane"
    )


def sample(rows: int, first: int = 1) -> bytes:
    """A file of good rows."""
    return "\n".join([HEADER, *[line(first + at) for at in range(rows)], ""]).encode()


@dataclass(frozen=True)
class Seen:
    """One record of the topic."""

    key: str
    value: Any
    headers: dict[str, str]
    partition: int

    @property
    def where(self) -> tuple[str, int]:
        """Source and line: what names a received row."""
        return self.headers["source_ref"], int(self.headers["line"])


class Death(BaseException):
    """The process dies here. No `except Exception` outlives it."""


@dataclass
class Fate:
    """Counts the steps of a poller and ends it before or after one of them."""

    at: int = -1
    how: Callable[[], None] | None = None
    steps: list[str] = field(default_factory=list)

    def tick(self, name: str) -> None:
        """One boundary; the fated one is the last."""
        self.steps.append(name)
        if len(self.steps) == self.at:
            if self.how:
                self.how()
            raise Death(name)

    def wrap(self, inner: Any, names: Sequence[str]) -> Any:
        """The object with a boundary before and after each of some methods."""
        return _Fated(inner, self, names)


class _Fated:
    def __init__(self, inner: Any, fate: Fate, names: Sequence[str]) -> None:
        self._inner, self._fate, self._names = inner, fate, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fate.tick(f"before {name}")
            result = found(*args, **kwargs)
            self._fate.tick(f"after {name}")
            return result

        return call


LOCAL = Hosts(["127.0.0.1"])
"""The shared S3 server's place, which is no public address."""
STORE_STEPS = ("next_requested", "claim", "advance", "finish", "unfinished", "renew")
BUCKET_STEPS = ("head", "copy", "delete", "put", "open")


class World:
    """One dataset in a prefix of its own."""

    def __init__(
        self,
        s3: Any,
        kafka: str,
        topic_prefix: str,
        bucket: str,
        store_path: Path | None = None,
        prefix: str = "",
    ) -> None:
        self.endpoint, self.kafka, self.bucket = s3, kafka, bucket
        self.topic = PAYMENTS.full_name(topic_prefix)
        self._publishers: list[Publisher] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "none",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        self.begin(prefix or f"site{next(numbers)}/", store_path)
        self.s3 = boto3.client(
            "s3",
            endpoint_url=s3.url,
            region_name="us-east-1",
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    def begin(self, prefix: str, store_path: Path | None = None) -> None:
        """Go to another prefix, with an empty store; only records from now on are seen."""
        s3 = self.endpoint
        self.prefix = prefix
        self.store = MemoryRunStore(store_path)
        self.location = S3Location(self.bucket, prefix, s3.url, s3.access_key, s3.secret_key)
        self.dataset = Dataset("ds_1", ORG, "s3", "365000000", self.location, id_namespace="crm")
        self.datasets = Datasets(self.dataset)
        self._starts = {} if store_path else self._ends()

    def _ends(self) -> dict[int, int]:
        """Next offset of every partition."""
        partitions = self._consumer.list_topics(self.topic, 10).topics[self.topic].partitions
        return {number: self._end(number) for number in partitions}

    def _end(self, number: int) -> int:
        """Next offset of one partition; a fresh topic's leader may take a moment to know it."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return int(self._consumer.get_watermark_offsets(TopicPartition(self.topic, number), 10)[1])
            except KafkaException:
                if time.monotonic() > deadline:
                    raise

    def put(self, data: bytes, name: str = NAME) -> None:
        """Drop a file."""
        self.s3.upload_fileobj(io.BytesIO(data), self.bucket, self.prefix + name)

    def keys(self, folder: str = "") -> list[str]:
        """Keys below the prefix, without it."""
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + folder)
        return [entry["Key"].removeprefix(self.prefix) for entry in found.get("Contents", [])]

    def body(self, key: str) -> bytes:
        """An object's bytes."""
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read())

    def publisher(self, delivery_timeout_s: float = 10.0) -> Publisher:
        """A publisher, closed with the world."""
        made = Publisher(self.kafka, delivery_timeout_s=delivery_timeout_s)
        self._publishers.append(made)
        return made

    def rows(self) -> RowRecords:
        """What makes records of rows."""
        return RowRecords(self.topic, Pseudonymizer(SECRET), Sealer(SEAL_SECRET))

    def poller(self, fate: Fate | None = None, publisher: Publisher | None = None, **options: Any) -> Poller:
        """A poller over this world; with a fate it dies at one of its steps."""
        store, rows = self.store, self.rows()
        if fate:
            store = fate.wrap(self.store, STORE_STEPS)
            rows = fate.wrap(rows, ("of",))
        options = {"poll_s": 0.05, "schedule_s": 0.05, "first_pause_s": 0.05, "hosts": LOCAL, **options}
        unjudged = options.pop("unjudged", lambda: 0)
        return Poller(self.datasets, store, publisher or self.publisher(), rows, unjudged, **options)

    def run(self, fate: Fate | None = None, **options: Any) -> tuple[RunState, str | None]:
        """Ask for a run and serve it; returns how it ended."""
        run_id = self.store.request(self.dataset.id)
        self.poller(fate, **options).poll()
        return self.store.run_state(run_id)

    def seen(self) -> list[Seen]:
        """All records of the topic that come from this world's prefix."""
        ends = self._ends()
        starts = {p: self._starts.get(p, 0) for p in ends}
        self._consumer.assign([TopicPartition(self.topic, p, start) for p, start in starts.items()])
        found = []
        for _ in range(sum(ends.values()) - sum(starts.values())):
            message = self._consumer.poll(10)
            assert message is not None
            assert message.error() is None
            headers = {name: value.decode() for name, value in message.headers()}
            if f"/{self.prefix}" in headers["source_ref"]:
                value = orjson.loads(message.value())
                found.append(Seen(message.key().decode(), value, headers, message.partition()))
        self._consumer.unassign()
        return found

    def close(self) -> None:
        """Close connections."""
        self.lose_publishers()
        self._consumer.close()
        self.s3.close()

    def lose_publishers(self) -> None:
        """What was not acknowledged by now never will be, as when a process dies."""
        for publisher in self._publishers:
            publisher.close(0)
        self._publishers.clear()


class FatedBuckets:
    """While this is on, the intake's buckets have boundaries around their calls."""

    def __init__(self, monkeypatch: Any, fate: Fate) -> None:
        monkeypatch.setattr(s3_intake, "Bucket", lambda *given: fate.wrap(Bucket(*given), BUCKET_STEPS))


def in_thread(poller: Poller) -> threading.Thread:
    """The poller running by itself."""
    thread = threading.Thread(target=poller.run, daemon=True)
    thread.start()
    return thread
