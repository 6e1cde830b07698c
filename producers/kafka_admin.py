"""A librdkafka client for questions to the broker, made on first use and made anew after a failure."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from producers.connection import LibrdkafkaLog
from producers.kafka_access import Kafka, client_options


class Asker:
    """Lends a client; for any number of threads.

    One that failed is not lent again. After a broker came back it may go on to ask with the leader epoch of
    before, and be fenced (`FENCED_LEADER_EPOCH`), for ever.

    Args:
        kafka: the broker, with credentials if it asks for them.
        options: librdkafka's settings beside those.
    """

    def __init__(self, kafka: Kafka, options: Mapping[str, Any] = {}) -> None:
        self._config = client_options(kafka, {"log_level": 0, **options})
        self._lock = threading.Lock()
        self._client: AdminClient | None = None

    @contextmanager
    def client(self) -> Iterator[AdminClient]:
        """The client; what its questions raise comes through."""
        with self._lock:
            client = self._client = self._client or AdminClient(self._config, logger=LibrdkafkaLog())
        try:
            yield client
        except (KafkaException, TimeoutError):
            with self._lock:
                if self._client is client:
                    self._client = None
            raise
