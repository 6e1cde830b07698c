"""Reads the registry topics from their beginning, for ever, in a thread of its own.

Every worker reads all of them: this is no group's work. `catch_up` is what makes an "unknown"
verdict fair: it reads on to the end that the topics have at that moment.
"""

import threading
import time

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from producers.kafka_access import Kafka, client_options
from producers.kafka_admin import Asker
from schemas.registry import RegistryMessageError, parse
from schemas.topics import kinds_by_topic
from streams.registry import Registry

log = structlog.get_logger(__name__)


class RegistryBehind(Exception):
    """The registry topics could not be read to their end in time; retrying can cure it."""


class RegistryReader:
    """Feeds a `Registry`.

    Args:
        kafka: the broker, with credentials if it asks for them.
        prefix: the installation's topic prefix.
        registry: what is fed.
    """

    def __init__(self, kafka: Kafka, prefix: str, registry: Registry) -> None:
        self._kinds = kinds_by_topic(prefix)
        own = {
            "group.id": f"{prefix}registry-readers",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
            "log_level": 0,
        }
        self._consumer = Consumer(client_options(kafka, own))
        self._asker = Asker(kafka)
        self._registry = registry
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._reached: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="registry-reader", daemon=True)

    def start(self) -> None:
        """Begin to read; `catch_up` waits for the first end."""
        self._consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in self._kinds])
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and give the connection back."""
        self._stopping.set()
        self._thread.join(timeout=10)
        self._consumer.close()

    def catch_up(self, timeout_s: float = 30.0) -> None:
        """Return when everything that is in the topics now has been applied.

        Raises:
            RegistryBehind: the broker is away, or the reader did not get there in time.
        """
        deadline = time.monotonic() + timeout_s
        try:
            ends = self._ends(timeout_s)
        except KafkaException as exc:
            raise RegistryBehind(f"registry topics: {exc.args[0].name()}") from None
        except TimeoutError:
            raise RegistryBehind("the broker does not tell where the registry topics end") from None
        with self._moved:
            while any(self._reached.get(name, 0) < end for name, end in ends.items()):
                if not self._moved.wait(deadline - time.monotonic()):
                    raise RegistryBehind("registry topics were not read to their end in time")

    def _ends(self, timeout_s: float) -> dict[str, int]:
        """Present end of each registry topic. Asked through another client: ours is busy reading."""
        asked = {TopicPartition(name, 0): OffsetSpec.latest() for name in self._kinds}
        with self._asker.client() as admin:
            futures = admin.list_offsets(asked, request_timeout=timeout_s)
            return {tp.topic: future.result(timeout_s).offset for tp, future in futures.items()}

    def _run(self) -> None:
        while not self._stopping.is_set():
            messages = self._consumer.consume(1000, timeout=0.2)
            for message in messages:
                self._take(message)
            if messages:
                with self._moved:
                    self._moved.notify_all()

    def _take(self, message: Message) -> None:
        if (error := message.error()) is not None:
            log.warning("registry_read_error", error=error.name())
            return
        topic, offset = message.topic(), message.offset()
        value = message.value()
        if topic is None or offset is None:
            return
        if value is not None:
            kind = self._kinds[topic]
            try:
                self._registry.apply(kind, parse(kind, value))
            except RegistryMessageError as exc:
                # one bad message must not end the registry for everybody; it is named and skipped
                log.error("registry_message_refused", topic=topic, offset=offset, error=str(exc))
        self._reached[topic] = offset + 1
