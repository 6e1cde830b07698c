"""Creates the topics of the registry and checks that those which exist are what they must be."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from producers.connection import LibrdkafkaLog, error_name, is_passing
from producers.errors import BrokerRefuses, BrokerUnavailable, TopicMisconfigured
from producers.kafka_access import Kafka, KafkaAccess, Refusals, access, client_options, is_denial
from schemas.topics import HOMES, TOPICS, TopicSpec

log = structlog.get_logger(__name__)

_ESSENTIAL: Final = ("message.timestamp.type", "cleanup.policy")
_PAUSE_S: Final = 0.1
_REQUEST_S: Final = 5.0


def create_topics(
    kafka: Kafka,
    prefix: str = "",
    replication_factor: int = 1,
    timeout_s: float = 30.0,
    specs: Sequence[TopicSpec] = TOPICS,
) -> None:
    """Create what is missing, wait until every topic has leaders, and check the settings of all.

    May be called by several processes at once, and again.

    Raises:
        BrokerUnavailable: not all topics are there within `timeout_s` seconds.
        BrokerRefuses: the broker does not take the credentials, or does not let their user look or create.
        TopicMisconfigured: a topic's time stamps, clean-up policy or number of partitions would lose
            records or move identities. An operator's other retention is only logged.
    """
    refusals = Refusals()
    own = {"client.id": "sunledger-topics", "log_level": 4, "error_cb": refusals}
    admin = AdminClient(client_options(kafka, own), logger=LibrdkafkaLog())
    deadline = time.monotonic() + timeout_s
    names = {spec.full_name(prefix): spec for spec in specs}
    while missing := _missing(admin, names, deadline, _Refused(access(kafka), refusals)):
        _create(admin, {name: names[name] for name in missing}, replication_factor)
        _pause(deadline, f"topics without a leader: {', '.join(sorted(missing))}")
    try:
        _check(admin, names)
    except KafkaException as error:
        name = error_name(error.args[0])
        if is_denial(error.args[0]):
            raise BrokerRefuses(f"this user may not look at the topics' settings: {name}") from None
        raise BrokerUnavailable(f"topics cannot be looked at: {name}") from None


def _pause(deadline: float, reason: str) -> None:
    """Wait a moment before the next try.

    Raises:
        BrokerUnavailable: there is no time left.
    """
    if time.monotonic() + _PAUSE_S >= deadline:
        raise BrokerUnavailable(reason)
    time.sleep(_PAUSE_S)


@dataclass(frozen=True, slots=True)
class _Refused:
    """Asks whether the broker refuses us for good."""

    kafka: KafkaAccess
    refusals: Refusals

    def check(self, admin: AdminClient) -> None:
        """Raise `BrokerRefuses` if it does: waiting would not help."""
        admin.poll(0)
        if self.refusals.refused:
            raise BrokerRefuses(
                f"the broker at {self.kafka.servers} does not take the credentials of the user"
                f" {self.kafka.username!r} ({self.kafka.protocol}, {self.kafka.mechanism})"
            )


def _missing(
    admin: AdminClient, names: dict[str, TopicSpec], deadline: float, refused: _Refused
) -> list[str]:
    """Which topics do not exist, or have a partition without a leader."""
    while True:
        try:
            limit_s = min(_REQUEST_S, max(deadline - time.monotonic(), 0.1))
            known = admin.list_topics(timeout=limit_s).topics
            return [name for name in names if name not in known or not _has_leaders(known[name])]
        except KafkaException as error:
            refused.check(admin)
            _pause(deadline, f"the broker does not answer: {error_name(error.args[0])}")


def _has_leaders(topic: Any) -> bool:
    return bool(topic.partitions) and all(part.leader >= 0 for part in topic.partitions.values())


def _create(admin: AdminClient, specs: dict[str, TopicSpec], replication_factor: int) -> None:
    """Ask for topics; one that exists by now is as good."""
    wanted = [
        NewTopic(
            name,
            num_partitions=spec.partitions,
            replication_factor=replication_factor,
            config=spec.config(),
        )
        for name, spec in specs.items()
    ]
    for name, answer in admin.create_topics(wanted, request_timeout=_REQUEST_S).items():
        try:
            answer.result()
            log.info("topic_created", topic=name)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            if is_denial(error.args[0]):
                raise BrokerRefuses(f"{name}: not there, and this user may not see or create it") from None
            if not is_passing(error.args[0]):
                raise TopicMisconfigured(f"{name}: {error_name(error.args[0])}") from None
            log.warning("topic_not_created_yet", topic=name, error=error_name(error.args[0]))


def _check(admin: AdminClient, names: dict[str, TopicSpec]) -> None:
    """Compare the topics with the registry.

    Raises:
        TopicMisconfigured: names every fault of every topic at once.
    """
    known = admin.list_topics(timeout=_REQUEST_S).topics
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    faults: list[str] = []
    for resource, answer in admin.describe_configs(resources, request_timeout=_REQUEST_S).items():
        spec = names[resource.name]
        found = {key: entry.value for key, entry in answer.result().items()}
        faults += [
            f"{resource.name}: {key} is {found.get(key)}, not {spec.config()[key]}"
            for key in _ESSENTIAL
            if found.get(key) != spec.config()[key]
        ]
        if not spec.compacted and found.get("retention.ms") != spec.config()["retention.ms"]:
            log.warning(
                "topic_has_other_retention", topic=resource.name, retention_ms=found.get("retention.ms")
            )
        partitions = len(known[resource.name].partitions)
        if partitions > HOMES or (spec.compacted and partitions != spec.partitions):
            faults.append(f"{resource.name}: {partitions} partitions")
    if faults:
        raise TopicMisconfigured("; ".join(faults))
