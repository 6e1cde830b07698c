"""Kafka's topic ids: the epoch of positions follows them, and a topic made anew ends the worker."""

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from producers.kafka_access import Kafka, client_options
from streams.transport.errors import PartitionsAdded, TopicRecreated


class TopicsMissing(Exception):
    """A topic does not exist (yet), or the broker does not answer; retrying can cure it."""


class TopicIds:
    """Asks the broker for topic ids and partition counts.

    Args:
        kafka: the broker, with credentials if it asks for them.
        names: full names of the topics to look after.
    """

    def __init__(self, kafka: Kafka, names: Iterable[str]) -> None:
        self._admin = AdminClient(client_options(kafka, {"log_level": 0}))
        self._names = list(names)
        self._known: dict[str, str] = {}
        self._partitions: dict[str, int] = {}

    def read(self, timeout_s: float = 10.0) -> Mapping[str, str]:
        """Topic name → topic id, as the broker says now.

        Raises:
            TopicsMissing: a topic is not there or the broker does not answer.
            TopicRecreated: a topic has another id than at the first read.
            PartitionsAdded: a topic has another number of partitions than at the first read.
        """
        try:
            futures = self._admin.describe_topics(TopicCollection(self._names), request_timeout=timeout_s)
            described = {name: future.result(timeout_s) for name, future in futures.items()}
        except KafkaException as exc:
            raise TopicsMissing(f"topics cannot be described: {exc.args[0].name()}") from None
        except TimeoutError:
            raise TopicsMissing("topics cannot be described in time") from None
        for name, topic in described.items():
            found = str(topic.topic_id)
            before = self._known.setdefault(name, found)
            if before != found:
                raise TopicRecreated(name, before, found)
            count = len(topic.partitions)
            if self._partitions.setdefault(name, count) != count:
                raise PartitionsAdded(name, self._partitions[name], count)
        return dict(self._known)

    def id_of(self, name: str) -> str:
        """Topic id at the first `read`; empty for a topic that is not looked after."""
        return self._known.get(name, "")

    def partitions(self, name: str) -> int:
        """Number of partitions at the first `read`; the worker's index was restored for that number."""
        return self._partitions[name]
