"""One librdkafka producer, its callbacks served by a thread of its own or by whoever sends."""

import threading
from collections.abc import Callable
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from producers.errors import BrokerUnavailable
from producers.kafka_access import Kafka, access, client_options, is_refusal
from producers.metrics import BROKER_ERRORS

log = structlog.get_logger(__name__)

MAX_RECORD_BYTES: Final = 1_000_000
"""Largest record, headers included; the broker's own limit is a little above."""
MAX_WAITING: Final = 200_000
"""Most records that wait for an acknowledgement."""
_MAX_WAITING_KB: Final = 256 * 1024
_BULK_WAITING_KB: Final = 32 * 1024
"""Of a file, which can wait; more would only be memory."""
_POLL_S: Final = 0.1
_METADATA_S: Final = 2.0


class LibrdkafkaLog:
    """Takes librdkafka's own log lines, which would otherwise go to stderr, into the structured log."""

    def log(self, level: int, template: str, *parts: Any) -> None:
        """One line; librdkafka hands a template and its parts over."""
        log.log(level, "librdkafka", line=template % parts if parts else template)


class Connection:
    """A producer, idempotent and with acks=all. Made anew after a fatal error of librdkafka.

    Args:
        on_failure: told of every record that was given up and has no callback of its own; then nothing is
            called for records that were acknowledged, and whoever sends serves the callbacks: even those that
            do nothing need Python's lock, and a thread would fight for it at every record.
    """

    def __init__(
        self,
        kafka: Kafka,
        client_id: str,
        delivery_timeout_s: float,
        linger_ms: int,
        on_failure: Callable[[KafkaError], None] | None = None,
    ) -> None:
        timeout_ms = max(int(delivery_timeout_s * 1000), 100)
        self.fatal = False
        self.refused = False
        self._user = access(kafka).username
        own: dict[str, Any] = {
            "client.id": client_id,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": linger_ms,
            "message.max.bytes": MAX_RECORD_BYTES,
            "queue.buffering.max.messages": MAX_WAITING,
            "queue.buffering.max.kbytes": _MAX_WAITING_KB,
            # After this a record is given up, so it cannot arrive when its sender has long been
            # told that it did not.
            "message.timeout.ms": timeout_ms,
            "socket.timeout.ms": max(min(timeout_ms, 60_000), 1000),
            "request.timeout.ms": min(timeout_ms, 30_000),
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "error_cb": self._on_error,
            "log_level": 4,
            "log.connection.close": False,
        }
        if on_failure is not None:
            own["delivery.report.only.error"] = True
            own["queue.buffering.max.kbytes"] = _BULK_WAITING_KB
            own["on_delivery"] = lambda error, _message: on_failure(error)
        self._producer = Producer(client_options(kafka, own), logger=LibrdkafkaLog())
        self.produce: Callable[..., None] = self._producer.produce
        """Hands one record over, see `confluent_kafka.Producer.produce`.

        Raises BufferError when too many records wait, KafkaException when librdkafka refuses the record.
        """
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if on_failure is None:
            self._thread = threading.Thread(target=self._serve, name=f"{client_id}-callbacks", daemon=True)
            self._thread.start()

    @property
    def waiting(self) -> int:
        """Records handed over and not yet acknowledged."""
        return len(self._producer)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has. Blocks, at most some two seconds.

        Raises:
            BrokerUnavailable: no answer, or there is no such topic (yet).
        """
        try:
            found = self._producer.list_topics(topic, timeout=_METADATA_S).topics[topic]
        except KafkaException as error:
            if self.refused:
                raise BrokerUnavailable("the broker does not take our credentials") from None
            raise BrokerUnavailable(f"no metadata: {error_name(error.args[0])}") from None
        self.refused = False
        if found.error is not None or not found.partitions:
            raise BrokerUnavailable("there is no such topic")
        return len(found.partitions)

    def serve(self, timeout_s: float = 0.0) -> None:
        """Call what waits to be called; if nothing does, wait for it, at most `timeout_s` seconds."""
        self._producer.poll(timeout_s)

    def discard(self) -> None:
        """Give everything up that waits, and end."""
        self._producer.purge()
        self.close(0.0)

    def flush(self, timeout_s: float) -> int:
        """Wait for all acknowledgements; returns how many are still missing."""
        return int(self._producer.flush(timeout_s))

    def close(self, timeout_s: float) -> int:
        """Wait for acknowledgements, give up what is left, end the thread; returns how many were left."""
        left = self.flush(timeout_s)
        if left:
            self._producer.purge()
            self._producer.flush(1.0)
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        # Without this librdkafka's threads live as long as the process and look for the broker.
        self._producer.close()
        return left

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(_POLL_S)

    def _on_error(self, error: KafkaError) -> None:
        BROKER_ERRORS.labels(error.name()).inc()
        if is_refusal(error) and not self.refused:
            self.refused = True
            log.error("broker_refuses_credentials", user=self._user, error=error.name())
        if error.fatal():
            log.error("publisher_starts_over", error=error.name())
            self.fatal = True


def is_passing(error: KafkaError) -> bool:
    """Whether trying again can cure it: the broker says so, or it is the client's own (no answer in time)."""
    return bool(error.retriable()) or error.code() < 0


def error_name(error: KafkaError) -> str:
    """The error's constant name, which holds neither data nor addresses."""
    return str(error.name())
