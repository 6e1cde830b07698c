"""Whether the broker answers, for /readyz."""

import threading
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from producers.connection import LibrdkafkaLog
from producers.errors import BrokerRefuses
from producers.kafka_access import Kafka, Refusals, client_options

_PATIENCE_S: Final = 1.5


class BrokerCheck:
    """Asks the cluster for its metadata. Makes no connection before it is used.

    Args:
        kafka: the broker, with credentials if it asks for them.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._refusals = Refusals()
        own = {
            "client.id": "sunledger-ready",
            "log_level": 0,
            "reconnect.backoff.max.ms": 1000,
            "error_cb": self._refusals,
        }
        self._config = client_options(kafka, own)
        self._lock = threading.Lock()
        self._client: Any = None

    def __call__(self) -> None:
        """Return when the broker answers (blocks, at most some two seconds).

        Raises:
            KafkaException: it does not.
            BrokerRefuses: it does not take our credentials.
        """
        with self._lock:
            if self._client is None:
                self._client = AdminClient(self._config, logger=LibrdkafkaLog())
        try:
            self._client.list_topics(timeout=_PATIENCE_S)
        except KafkaException:
            self._client.poll(0)
            if self._refusals.refused:
                raise BrokerRefuses("the broker does not take our credentials") from None
            raise
        self._refusals.refused = False
