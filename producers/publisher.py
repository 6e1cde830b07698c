"""The one way into the topics: idempotent, acknowledged by all replicas, the partition chosen by identity."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException

from producers.bulk import Bulk
from producers.connection import MAX_WAITING, Connection, error_name
from producers.errors import BrokerUnavailable, PublisherFull, PublishError, RecordTooLarge
from producers.group import Group, OnDelivery, Record
from producers.kafka_access import Kafka
from producers.metrics import PUBLISH_FAILURES, TIME_TO_ACK
from schemas.identity import partition_of

log = structlog.get_logger(__name__)

DELIVERY_TIMEOUT_S: Final = 3.5
"""How long a record of a request may wait for the broker: less than the API's five seconds."""
FILE_DELIVERY_TIMEOUT_S: Final = 60.0
"""How long a record of a file may wait for the broker before its file starts over."""
BULK_LINGER_MS: Final = 50
"""How long a record of a file may wait for others: large batches cost the broker and us less."""
_PARTITIONS_AGE_S: Final = 30.0

__all__ = [
    "BrokerUnavailable",
    "Group",
    "PublishError",
    "Publisher",
    "PublisherFull",
    "Record",
    "RecordTooLarge",
]


class Publisher:
    """Publishes records. Safe for many threads; makes no connection before it is used.

    A record that is not acknowledged within `delivery_timeout_s` is given up by librdkafka, so the
    callers' time limits should not be shorter.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        client_id: str = "sunledger",
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
        linger_ms: int = 2,
    ) -> None:
        self._open = partial(Connection, kafka, client_id, delivery_timeout_s)
        self._linger_ms = linger_ms
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._partitions: dict[str, tuple[int, float]] = {}

    def publish(self, record: Record, on_delivery: OnDelivery) -> None:
        """Hand one record over; returns at once, unless the topic's partitions are not yet known.

        Raises:
            PublisherFull: too many records wait for the broker.
            BrokerUnavailable: the topic's partitions cannot be learnt.
            RecordTooLarge: the record exceeds the limit.
        """
        partition = self._partition(record)
        try:
            self._connected().produce(
                record.topic,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                partition=partition,
                on_delivery=lambda error, _message: self._delivered(record.topic, error, on_delivery),
            )
        except BufferError:
            raise PublisherFull("too many records wait for the broker") from None
        except KafkaException as error:
            raise self._refused(record.topic, error.args[0]) from None

    async def publish_all(self, records: Sequence[Record], timeout_s: float) -> None:
        """Publish records and return after the broker has acknowledged all of them.

        Raises:
            BrokerUnavailable: not all were acknowledged within `timeout_s` seconds; some may have been.
            PublisherFull: there is no room for them; none was sent.
            RecordTooLarge: one exceeds the limit; those before it were sent.
        """
        if not records:
            return
        started = time.monotonic()
        if self.waiting + len(records) > MAX_WAITING:
            raise PublisherFull("too many records wait for the broker")
        try:
            async with asyncio.timeout(timeout_s):
                for topic in {record.topic for record in records if record.partition is None}:
                    await asyncio.to_thread(self.partitions, topic)
                await self._acknowledged(records)
        except TimeoutError:
            raise BrokerUnavailable("no acknowledgement in time") from None
        TIME_TO_ACK.observe(time.monotonic() - started)

    async def _acknowledged(self, records: Sequence[Record]) -> None:
        """Send records and wait for the last acknowledgement."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: PublishError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def finished(error: PublishError | None) -> None:
            # The loop is gone when its program ends with records under way: nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, error)

        group = Group(self.publish, finished)
        for record in records:
            group.add(record)
        group.close()
        await done

    def group(self, check: Callable[[], None] | None = None) -> Group:
        """A group of records that is waited for as one.

        `check` is called while the group waits; what it raises ends the waiting.
        """
        return Group(self.publish, check=check)

    def bulk(self, check: Callable[[], None]) -> Bulk:
        """Records of a file, waited for as one, with a connection of their own.

        `check` is called while the file waits; what it raises ends the waiting.
        """
        return Bulk(partial(self._open, BULK_LINGER_MS), self._refused, check)

    @property
    def waiting(self) -> int:
        """Records handed over and not yet acknowledged."""
        connection = self._connection
        return connection.waiting if connection else 0

    def flush(self, deadline_s: float) -> None:
        """Wait until everything handed over is settled.

        Raises:
            BrokerUnavailable: something still waits after `deadline_s` seconds.
        """
        connection = self._connection
        if connection and connection.flush(deadline_s):
            raise BrokerUnavailable("no acknowledgement in time")

    def close(self, deadline_s: float = 5.0) -> None:
        """Flush, give up what is not acknowledged by then, and end. May be called twice."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection and (left := connection.close(deadline_s)):
            log.warning("publisher_closed_with_records_left", records=left)

    def _connected(self) -> Connection:
        """The connection, made on first use and made anew after a fatal error."""
        connection = self._connection
        if connection is not None and not connection.fatal:
            return connection
        with self._lock:
            if self._connection is not None and self._connection.fatal:
                # Everything in it has failed already; its thread ends when the last callback ran.
                threading.Thread(target=self._connection.close, args=(0.0,), daemon=True).start()
                self._connection = None
            if self._connection is None:
                self._connection = self._open(self._linger_ms)
            return self._connection

    def _partition(self, record: Record) -> int:
        if record.partition is not None:
            return record.partition
        return partition_of(record.key.decode(), self.partitions(record.topic))

    def partitions(self, topic: str) -> int:
        """Partitions of a topic, asked for again when the answer is older than half a minute.

        Raises:
            BrokerUnavailable: never learnt and no answer now.
        """
        known = self._partitions.get(topic)
        if known and time.monotonic() - known[1] < _PARTITIONS_AGE_S:
            return known[0]
        try:
            count = self._connected().partitions(topic)
        except BrokerUnavailable:
            if known is None:
                raise
            # Partitions are only ever added; a stale count costs one forward, not a row.
            count = known[0]
        self._partitions[topic] = (count, time.monotonic())
        return count

    def _delivered(self, topic: str, error: KafkaError | None, on_delivery: OnDelivery) -> None:
        on_delivery(None if error is None else self._refused(topic, error))

    def _refused(self, topic: str, error: KafkaError) -> PublishError:
        """Our error for librdkafka's; forgets the partitions when they may be the reason."""
        name = error_name(error)
        PUBLISH_FAILURES.labels(topic, name).inc()
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return RecordTooLarge("the record exceeds the largest size of a record")
        if error.code() in (KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART):
            self._partitions.pop(topic, None)
        return BrokerUnavailable(f"not acknowledged: {name}")
