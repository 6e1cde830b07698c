"""What Kafka says: topic ids, committed offsets, where each log begins and ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from producers.connection import LibrdkafkaLog, error_name
from producers.kafka_access import Kafka, client_options

ANSWER_S: Final = 10.0


class BrokerAway(Exception):
    """The broker does not answer, or a topic has no leader; retrying can cure it."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic at one moment.

    Attributes:
        topic_id: Kafka's id of this life of the topic.
        partitions: partition numbers.
        committed: partition → committed offset, of this life of the topic; others are left out.
        starts: partition → first offset that the log still has.
    """

    topic_id: str
    partitions: Sequence[int]
    committed: Mapping[int, int]
    starts: Mapping[int, int]


class Broker:
    """Asks the broker. Blocks; for one thread.

    Commits and ends of logs are asked through a consumer that never joins the group: librdkafka's admin
    client crashes the process when a coordinator that starts or moves is asked about commits, and leaks at
    questions about ends (confluent-kafka-javascript issue 374, confluent-kafka-python issue 1901).

    Args:
        kafka: the broker, with credentials if it asks for them.
        group: full name of the workers' consumer group.
    """

    def __init__(self, kafka: Kafka, group: str) -> None:
        own = {"client.id": "sunledger-verifier", "log_level": 4}
        self._admin = AdminClient(client_options(kafka, own), logger=LibrdkafkaLog())
        self._consumer = Consumer(
            client_options(kafka, {**own, "group.id": group, "enable.auto.commit": False}),
            logger=LibrdkafkaLog(),
        )
        self._seen: dict[str, tuple[str, int]] = {}

    def close(self) -> None:
        """End the connections."""
        self._consumer.close()

    def read(self, topic: str) -> TopicState:
        """Id, commits and starts of a topic.

        Raises:
            BrokerAway: no answer, or no such topic.
        """
        described = self._described(topic)
        numbers = sorted(part.id for part in described.partitions)
        topic_id = str(described.topic_id)
        self._refresh(topic, (topic_id, len(numbers)))
        return TopicState(
            topic_id, numbers, self._committed(topic, topic_id, numbers), self.starts(topic, numbers)
        )

    def starts(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """Partition → first offset that the log still has.

        Raises:
            BrokerAway: no answer.
        """
        return {number: self._log(topic, number)[0] for number in partitions}

    def ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """Partition → offset after the last record.

        Raises:
            BrokerAway: no answer.
        """
        return {number: self._log(topic, number)[1] for number in partitions}

    def _described(self, topic: str) -> Any:
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_S)
        try:
            return asked[topic].result(ANSWER_S + 1)
        except KafkaException as exc:
            raise _away(exc) from None
        except TimeoutError:
            raise BrokerAway("the broker does not answer in time") from None

    def _refresh(self, topic: str, seen: tuple[str, int]) -> None:
        """Let the consumer learn of partitions that were added: it goes by what it knew for five minutes."""
        if self._seen.get(topic, seen) != seen:
            try:
                found = self._consumer.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions
            except KafkaException as exc:
                raise _away(exc) from None
            if len(found) != seen[1]:
                raise BrokerAway(f"not every broker knows the {seen[1]} partitions of {topic} yet")
        self._seen[topic] = seen

    def _committed(self, topic: str, topic_id: str, numbers: Sequence[int]) -> dict[int, int]:
        """Commits of this life of the topic: a commit's note names the id of the log that it is about."""
        asked = [TopicPartition(topic, number) for number in numbers]
        try:
            found = self._consumer.committed(asked, timeout=ANSWER_S)
        except KafkaException as exc:
            raise _away(exc) from None
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0 and _is_about(topic_id, _note(tp))}

    def _log(self, topic: str, number: int) -> tuple[int, int]:
        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_S)
        except KafkaException as exc:
            raise _away(exc) from None
        if found is None:
            raise BrokerAway("the broker does not answer in time")
        return int(found[0]), int(found[1])


def _away(exc: KafkaException) -> BrokerAway:
    return BrokerAway(f"the broker does not answer: {error_name(exc.args[0])}")


def _note(committed: TopicPartition) -> str:
    """The note of a commit. confluent-kafka reads on behind its end: what follows may be anything."""
    try:
        return committed.metadata or ""
    except UnicodeDecodeError:
        return ""


def _is_about(topic_id: str, note: str) -> bool:
    """Whether a commit is about this life of a topic; one without a note may be."""
    log_id = note.partition(":")[2]
    return not log_id or log_id.startswith(topic_id)
