"""More partitions for a topic of rows, while nobody judges and nothing waits to be judged.

An identity keeps its home for ever, but homes move to other partitions when there are more of them. A row
that was not judged by then would be overtaken by later rows of its identity, and a worker that runs meanwhile
would judge without the keys that moved to it.
"""

from collections.abc import Mapping
from typing import Final

import stamina
import structlog
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions

from producers.connection import error_name
from producers.errors import BrokerRefuses, BrokerUnavailable, PartitionsRefused
from producers.kafka_access import Kafka, is_denial
from producers.kafka_admin import Asker
from producers.pace import Unjudged
from schemas.topics import HOMES, PAYMENTS, READS, TopicSpec

log = structlog.get_logger(__name__)

GROWING: Final[Mapping[str, TopicSpec]] = {spec.name: spec for spec in (PAYMENTS, READS)}
"""Topics that may get more partitions, by name; the others are read as a whole."""
_ASK_S: Final = 10.0
_STARTING: Final = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
"""What a broker says of a group for a moment after it has started."""
_STARTED_S: Final = 30.0
_NOBODY: Final = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)


def add_partitions(kafka: Kafka, prefix: str, group: str, spec: TopicSpec, count: int) -> int:
    """Give a topic `count` partitions; returns how many it had.

    Args:
        prefix: of the topics of the installation.
        group: the workers' consumer group, prefix included.
        spec: one of `GROWING`.
        count: more than it has, at most `schemas.topics.HOMES`.

    Raises:
        PartitionsRefused: the number is none that can be, workers run, or rows wait to be judged.
        BrokerUnavailable: the broker does not answer.
        BrokerRefuses: this user may not do it.
    """
    topic = spec.full_name(prefix)
    try:
        with Asker(kafka).client() as admin:
            before = _partitions(admin, topic)
            if not before < count <= HOMES:
                raise PartitionsRefused(
                    f"{topic} has {before} partitions: expected a number above that, at most {HOMES},"
                    f" found {count}"
                )
            unjudged = Unjudged(kafka, group, topic)
            for attempt in stamina.retry_context(on=_starts, attempts=None, timeout=_STARTED_S):
                with attempt:
                    _check_nobody(admin, group)
                    _check_drained(unjudged, topic)
            admin.create_partitions([NewPartitions(topic, count)], request_timeout=_ASK_S)[topic].result()
    except KafkaException as error:
        name = error_name(error.args[0])
        if is_denial(error.args[0]):
            raise BrokerRefuses(f"{topic}: this user may not add partitions, or not look: {name}") from None
        raise BrokerUnavailable(f"{topic}: the broker does not do it: {name}") from None
    log.info("partitions_added", topic=topic, before=before, partitions=count)
    return before


def _partitions(admin: AdminClient, topic: str) -> int:
    found = admin.list_topics(timeout=_ASK_S).topics.get(topic)
    if found is None:
        raise PartitionsRefused(f"there is no topic {topic}: `sunledger migrate` makes it")
    return len(found.partitions)


def _check_nobody(admin: AdminClient, group: str) -> None:
    """Raise `PartitionsRefused` while the group has members."""
    found = admin.describe_consumer_groups([group], request_timeout=_ASK_S)[group].result()
    if found.state not in _NOBODY:
        raise PartitionsRefused(
            f"the group {group} has {len(found.members)} members ({found.state.name.lower()}):"
            " stop all workers"
        )


def _check_drained(unjudged: Unjudged, topic: str) -> None:
    """Raise `PartitionsRefused` while rows wait to be judged."""
    if left := unjudged():
        raise PartitionsRefused(
            f"{left} records of {topic} are not judged: start workers again, until sunledger_lag_offsets is 0"
        )


def _starts(error: Exception) -> bool:
    """Whether the broker has only just started, and will say more in a moment."""
    return isinstance(error, KafkaException) and error.args[0].code() in _STARTING
