"""What the broker holds and nobody has judged yet: offsets of a topic, and a bounded look at records."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from producers.connection import LibrdkafkaLog
from producers.kafka_access import Kafka, client_options
from producers.kafka_admin import Asker

_PATIENCE_S: Final = 2.0
_LOOKS_AT_ONCE: Final = 4
_FETCH: Final = 1000
_MOST: Final = 100
Spans = Mapping[int, tuple[int, int]]
"""Partition → (first offset, offset after the last one)."""


class TailsAway(Exception):
    """The broker does not answer, or has no such topic; nothing can be said about what waits there."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the broker knows it: its id, and what each partition holds."""

    topic_id: str
    spans: Spans


@dataclass(frozen=True, slots=True)
class Waiting:
    """One record. `received_ms` is the broker's time stamp, milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    headers: Mapping[str, bytes]
    value: bytes
    received_ms: int


Wanted = Callable[[Waiting], bool]


@dataclass(slots=True)
class Look:
    """What a look found: records handed out, how many were looked at, whether those were all."""

    found: list[Waiting]
    looked_at: int = 0
    complete: bool = True


class TopicTails(Protocol):
    """Reads topics outside any consumer group. All calls block, some seconds at most."""

    def state(self, topic: str) -> TopicState:
        """The topic's id and offsets now.

        Raises:
            TailsAway: the broker does not answer, or there is no such topic.
        """
        ...

    def state_at(self, topic: str, moment_ms: int) -> TopicState:
        """The same as it was at a moment of the broker's clock, in milliseconds since 1970.

        Raises:
            TailsAway: as `state`.
        """
        ...

    def read(self, topic: str, spans: Spans, limit: int, wanted: Wanted) -> "Look":
        """Look at the records of some spans, each from its beginning.

        Args:
            limit: most records to look at, of all spans together.
            wanted: which of them to hand out.

        Raises:
            TailsAway: the broker does not answer.
        """
        ...


class KafkaTails:
    """`TopicTails` over a cluster. Makes no connection before it is used.

    Args:
        kafka: the broker, with credentials if it asks for them.
    """

    def __init__(self, kafka: Kafka) -> None:
        own = {"client.id": "sunledger-why", "log_level": 0, "reconnect.backoff.max.ms": 1000}
        self._config = client_options(kafka, own)
        self._asker = Asker(kafka, own)
        self._looks = threading.BoundedSemaphore(_LOOKS_AT_ONCE)

    def state(self, topic: str) -> TopicState:
        """See `TopicTails.state`."""
        return self._state(topic, None)

    def state_at(self, topic: str, moment_ms: int) -> TopicState:
        """See `TopicTails.state_at`."""
        return self._state(topic, moment_ms)

    def _state(self, topic: str, moment_ms: int | None) -> TopicState:
        try:
            with self._asker.client() as admin:
                asked = admin.describe_topics(TopicCollection([topic]), request_timeout=_PATIENCE_S)
                found = asked[topic].result(_PATIENCE_S)
                places = [TopicPartition(topic, part.id) for part in found.partitions]
                first = self._offsets(admin, places, OffsetSpec.earliest())
                after = self._offsets(admin, places, OffsetSpec.latest())
                if moment_ms is not None:
                    later = self._offsets(admin, places, OffsetSpec.for_timestamp(moment_ms))
                    after = {part: end if later[part] < 0 else later[part] for part, end in after.items()}
        except (KafkaException, TimeoutError) as error:
            raise TailsAway(type(error).__name__) from None
        return TopicState(str(found.topic_id), {part: (first[part], after[part]) for part in first})

    def read(self, topic: str, spans: Spans, limit: int, wanted: Wanted) -> Look:
        """See `TopicTails.read`."""
        held = {part: span for part, span in spans.items() if span[0] < span[1]}
        look = Look([])
        if not held:
            return look
        share = max(limit // len(held), 1)
        ends = {part: min(last, first + share) for part, (first, last) in held.items()}
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(topic, part, held[part][0]) for part in held])
            deadline = time.monotonic() + _PATIENCE_S
            while ends and time.monotonic() < deadline:
                for message in consumer.consume(_FETCH, 0.2):
                    if (record := _record(message, ends)) is not None:
                        look.looked_at += 1
                        if len(look.found) < _MOST and wanted(record):
                            look.found.append(record)
        look.complete = not ends and all(last - first <= share for first, last in held.values())
        return look

    @staticmethod
    def _offsets(admin: Any, places: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        asked = admin.list_offsets(
            dict.fromkeys(places, spec),
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_PATIENCE_S,
        )
        return {place.partition: int(answer.result(_PATIENCE_S).offset) for place, answer in asked.items()}

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        """A consumer for one look; a few at once, or many questions would be many connections."""
        if not self._looks.acquire(timeout=_PATIENCE_S):
            raise TailsAway("too many looks at once")
        try:
            consumer = Consumer(
                {
                    **self._config,
                    "group.id": "sunledger-why",
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",  # what retention took meanwhile is no reason to fail
                    "isolation.level": "read_uncommitted",
                    "queued.min.messages": _FETCH,
                    "queued.max.messages.kbytes": 16 * 1024,
                },
                logger=LibrdkafkaLog(),
            )
            try:
                yield consumer
            finally:
                consumer.close()
        except KafkaException as error:
            raise TailsAway(type(error).__name__) from None
        finally:
            self._looks.release()


def _record(message: Message, ends: dict[int, int]) -> Waiting | None:
    """A record that lies in its span; a partition that is read to its end leaves `ends`."""
    part, offset, error = message.partition(), message.offset(), message.error()
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        ends.pop(part, None)
        return None
    end = ends.get(part)
    if end is None:
        return None
    if offset >= end - 1:
        del ends[part]
    if offset >= end:
        return None
    headers = {name: value or b"" for name, value in message.headers() or []}
    _, received_ms = message.timestamp()
    return Waiting(message.topic(), part, offset, headers, message.value() or b"", received_ms)
