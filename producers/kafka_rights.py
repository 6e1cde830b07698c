"""What each user of the broker may do, and nothing else: granted as access control lists by `migrate`.

The broker must deny what is not allowed (`StandardAuthorizer` without `allow.everyone.if.no.acl.found`),
and the user of `migrate` must be one of its `super.users`. Users have the names of the processes; an
analyst has no user on the broker.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from producers.connection import LibrdkafkaLog, error_name
from producers.errors import BrokerRefuses, BrokerUnavailable
from producers.kafka_access import Kafka, client_options
from schemas.topics import ALERTS, PAYMENTS, QUARANTINE, READS, REGISTRY, TOPICS, TopicSpec

log = structlog.get_logger(__name__)

_REQUEST_S: Final = 15.0
_APPLIED_S: Final = 30.0
_PAUSE_S: Final = 0.1
_ANY: Final = AclBindingFilter(
    ResourceType.ANY,
    None,
    ResourcePatternType.ANY,
    None,
    None,
    AclOperation.ANY,
    AclPermissionType.ANY,
)
_REGISTRY: Final = tuple(REGISTRY.values())
_ALL: Final = tuple(TOPICS)


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do.

    Attributes:
        reads: topics he may read.
        writes: topics he may write.
        looks: topics whose settings and offsets he may see.
        joins: consumer groups he may be a member of; `{group}` is the workers' one, prefix left out.
        watches: groups whose offsets he may see.
        unprefixed: groups he may be a member of, by their full names.
    """

    reads: tuple[TopicSpec, ...] = ()
    writes: tuple[TopicSpec, ...] = ()
    looks: tuple[TopicSpec, ...] = _ALL
    joins: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()
    unprefixed: tuple[str, ...] = ()


RIGHTS: Final[dict[str, Rights]] = {
    # reads of devices, uploaded files; payments and reads are replayed from quarantine through the same
    # door, and looked at while they wait to be judged
    "api": Rights(
        reads=(PAYMENTS, READS),
        writes=(READS, PAYMENTS, *_REGISTRY),
        watches=("{group}",),
        unprefixed=("sunledger-why",),
    ),
    # rows of files, the relay's messages; the reconciler reads the registry, the brakes the alerts
    "producers": Rights(
        reads=(ALERTS, *_REGISTRY),
        writes=(PAYMENTS, *_REGISTRY),
        joins=("brakes",),
        watches=("{group}",),
        unprefixed=("sunledger-reconcile",),
    ),
    # judges rows, sends those of other homes on, replays what can be cured, tells what was refused
    "worker": Rights(
        reads=(PAYMENTS, READS, *_REGISTRY),
        writes=(PAYMENTS, READS, QUARANTINE, ALERTS),
        joins=("{group}", "registry-readers"),
    ),
    # compares offsets with the ledger; what the records say it never sees
    "verifier": Rights(looks=(PAYMENTS, READS), watches=("{group}",)),
    # publishes rows directly; what he may not even see are other people's rows
    "integrator": Rights(writes=(PAYMENTS,), looks=(PAYMENTS,)),
}
"""Rights by user."""


def grant(kafka: Kafka, prefix: str, group: str) -> int:
    """Give every user of `RIGHTS` what he needs; may be repeated. Returns the number of entries.

    Returns when the broker that answers applies them, so that a process started now is let in.

    Args:
        kafka: the broker, as one of its super users.
        prefix: the installation's topic prefix.
        group: the workers' consumer group, prefix left out.

    Raises:
        BrokerRefuses: the broker has no authorizer, or this user may not change access control lists.
        BrokerUnavailable: they are not applied within half a minute.
    """
    wanted = [entry for user in RIGHTS for entry in entries(user, prefix, group)]
    admin = AdminClient(
        client_options(kafka, {"client.id": "sunledger-rights", "log_level": 4}), logger=LibrdkafkaLog()
    )
    for answer in admin.create_acls(wanted, request_timeout=_REQUEST_S).values():
        try:
            answer.result(_REQUEST_S)
        except KafkaException as error:
            raise BrokerRefuses(
                f"rights were not granted: {error_name(error.args[0])}; the broker needs an authorizer, and"
                " this user must be one of its super.users"
            ) from None
    _await_applied(admin, set(wanted))
    log.info("kafka_rights_granted", users=sorted(RIGHTS), entries=len(wanted))
    return len(wanted)


def _await_applied(admin: AdminClient, wanted: set[AclBinding]) -> None:
    """The controller answers when it has recorded them; the broker takes them over a moment later."""
    deadline = time.monotonic() + _APPLIED_S
    while True:
        try:
            found = set(admin.describe_acls(_ANY, request_timeout=_REQUEST_S).result(_REQUEST_S))
        except KafkaException as error:
            raise BrokerUnavailable(f"rights are not told: {error_name(error.args[0])}") from None
        if wanted <= found:
            return
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"{len(wanted - found)} rights are not applied in time")
        time.sleep(_PAUSE_S)


def entries(user: str, prefix: str, group: str) -> Iterator[AclBinding]:
    """The access control entries of one user of `RIGHTS`."""
    rights = RIGHTS[user]
    for specs, operations in (
        (rights.reads, (AclOperation.READ,)),
        (rights.writes, (AclOperation.WRITE,)),
        (rights.looks, (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)),
    ):
        for spec in specs:
            for operation in operations:
                yield _entry(user, ResourceType.TOPIC, spec.full_name(prefix), operation)
    for names, operation in ((rights.joins, AclOperation.READ), (rights.watches, AclOperation.DESCRIBE)):
        for name in names:
            yield _entry(user, ResourceType.GROUP, prefix + name.format(group=group), operation)
    for name in rights.unprefixed:
        yield _entry(user, ResourceType.GROUP, name, AclOperation.READ)


def _entry(user: str, kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    return AclBinding(
        kind,
        name,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        operation,
        AclPermissionType.ALLOW,
    )
