"""Compares SQL with the registry topics and queues again what a topic lacks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import outbox
from api.db import Database
from api.models import KINDS, Registered
from api.relay_metrics import RECONCILED
from api.tables import OutboxRow
from schemas.registry import RegistryMessageError, parse
from schemas.topics import REGISTRY, REGISTRY_KINDS, RegistryKind

log = structlog.get_logger(__name__)

_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """What a topic holds of an object: the version of its last record, which compaction keeps."""

    last: int
    highest: int


class TopicVersions(Protocol):
    """Reads what a registry topic holds."""

    def held(self, kind: RegistryKind) -> Mapping[str, Held]:
        """Object id to what the topic of this kind holds of it, up to its end when called."""
        ...


class KafkaTopicVersions:
    """Reads registry topics from their start to their current end, outside any consumer group.

    Args:
        config: librdkafka settings, at least `bootstrap.servers`.
        topic_prefix: prefix of every topic's name.
        timeout_s: longest wait for the next record.
    """

    def __init__(self, config: Mapping[str, Any], topic_prefix: str, timeout_s: float = 10) -> None:
        self._config = {
            **config,
            "group.id": "sunledger-reconcile",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
        self._prefix = topic_prefix
        self._timeout_s = timeout_s

    def held(self, kind: RegistryKind) -> Mapping[str, Held]:
        """See `TopicVersions.held`.

        Raises:
            KafkaException: the broker does not answer.
        """
        found: dict[str, Held] = {}
        for key, value in self._records(REGISTRY[kind].full_name(self._prefix)):
            version = _version(kind, key, value)
            known = found.get(key)
            found[key] = Held(version, max(version, known.highest if known else 0))
        return found

    def _records(self, topic: str) -> Iterator[tuple[str, bytes]]:
        consumer = Consumer(self._config)
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=self._timeout_s)
            consumer.assign([TopicPartition(topic, 0, low)])
            position = low
            while position < high:
                message = consumer.poll(self._timeout_s)
                if message is None:
                    raise TimeoutError(f"{topic} stopped answering at {position} of {high}")
                if message.error():
                    if message.error().name() == "_PARTITION_EOF":
                        return
                    raise KafkaException(message.error())
                position = message.offset() + 1
                if message.key() is not None:
                    yield message.key().decode(errors="replace"), message.value() or b"{}"
        finally:
            consumer.close()


def _version(kind: RegistryKind, key: str, value: bytes) -> int:
    """Version of a record of ours; 0 for what the streams would refuse: ours is missing, then."""
    try:
        message = parse(kind, value)
    except RegistryMessageError:
        return 0
    return message.version if message.id == key else 0


def reconcile(db: Database, topics: TopicVersions) -> dict[str, int]:
    """Queue every object whose newest version the topic does not hold last. Returns counts by kind.

    Objects with a message still in the outbox are left to the relay.
    """
    counts: dict[str, int] = {}
    for kind in REGISTRY_KINDS:
        model, held = KINDS[kind], topics.held(kind)
        counts[kind] = sum(_requeue(db, kind, model, held))
        if counts[kind]:
            RECONCILED.labels(kind).inc(counts[kind])
            log.warning("registry_topic_lacked_versions", kind=kind, objects=counts[kind])
    return counts


def _requeue(db: Database, kind: str, model: type[Registered], held: Mapping[str, Held]) -> Iterator[int]:
    after = 0
    while True:
        with db.read() as session:
            chunk = session.execute(
                select(model.number, model.id, model.version)
                .where(model.number > after)
                .order_by(model.number)
                .limit(_CHUNK)
            ).all()
        if not chunk:
            return
        after = chunk[-1].number
        if lacking := [row.id for row in chunk if held.get(row.id) != Held(row.version, row.version)]:
            with db.write() as session:
                yield _queue(session, kind, model, lacking, held)


def _queue(
    session: Session, kind: str, model: type[Registered], lacking: list[str], held: Mapping[str, Held]
) -> int:
    """Queue again. A topic that is ahead (SQL came back from a backup) is overtaken by one version."""
    waiting = select(OutboxRow.object_id).where(OutboxRow.state == "new", OutboxRow.kind == kind)
    items = session.scalars(
        select(model).where(model.id.in_(lacking), model.id.not_in(waiting)).with_for_update()
    ).all()
    for item in items:
        known = held.get(item.id)
        if known is not None and known.highest > item.version:
            item.version = known.highest
            outbox.changed(session, item)
        else:
            outbox.queue(session, item)
    return len(items)
