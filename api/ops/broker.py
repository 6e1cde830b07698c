"""Whether the broker answers, for /readyz."""

import threading
from typing import Any, Final

from confluent_kafka.admin import AdminClient

from producers.connection import LibrdkafkaLog

_PATIENCE_S: Final = 1.5


class BrokerCheck:
    """Asks the cluster for its metadata. Makes no connection before it is used.

    Args:
        bootstrap: `host:port` of brokers, parted by commas.
    """

    def __init__(self, bootstrap: str) -> None:
        self._config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": "sunledger-ready",
            "log_level": 0,
            "reconnect.backoff.max.ms": 1000,
        }
        self._lock = threading.Lock()
        self._client: Any = None

    def __call__(self) -> None:
        """Return when the broker answers (blocks, at most some two seconds).

        Raises:
            KafkaException: it does not.
        """
        with self._lock:
            if self._client is None:
                self._client = AdminClient(self._config, logger=LibrdkafkaLog())
        self._client.list_topics(timeout=_PATIENCE_S)
