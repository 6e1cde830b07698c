"""Database, topics and tables brought to the newest form; waits for the part that is not there yet."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from producers.errors import BrokerUnavailable
from producers.kafka_access import Kafka
from producers.kafka_rights import grant
from producers.topics import create_topics
from sinks import client as clickhouse
from sinks.errors import Retryable, classify
from sinks.migrate import ChangedMigrationError
from sinks.migrate import migrate as migrate_store
from sunledger.settings import MigrateSettings

log = structlog.get_logger(__name__)
T = TypeVar("T")

PAUSE_S = 1.0


def everything(settings: MigrateSettings) -> list[str]:
    """Bring the registry's database, the topics and the store to the newest form; returns what was done."""
    sql(settings.sql_url.get_secret_value())
    topics(settings.kafka_access(), settings.topic_prefix, settings.topic_replication)
    if settings.kafka_grants:
        grant(settings.kafka_access(), settings.topic_prefix, settings.group)
    return store(settings.clickhouse_url.get_secret_value(), settings.clickhouse_database)


def sql(url: str) -> None:
    """The registry's tables. Waits for the database."""
    # Workers use this module too, and have no business with SQL.
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415

    from api.migrate import upgrade  # noqa: PLC0415

    _patiently("sql", lambda: upgrade(url), (OperationalError,))


def topics(kafka: Kafka, prefix: str, replication: int) -> None:
    """Every topic of the registry of topics. Waits for the broker.

    Raises:
        BrokerRefuses: the credentials are wrong, or open too little.
        TopicMisconfigured: a topic exists that would lose records or move identities.
    """
    _patiently("kafka", lambda: create_topics(kafka, prefix, replication), (BrokerUnavailable,))


def store(url: str, database: str) -> list[str]:
    """Tables and views of ClickHouse; returns the files that were applied. Waits for the server.

    Raises:
        ChangedMigrationError: an applied file was edited.
    """
    return _patiently("clickhouse", lambda: _migrate_store(url, database), (Retryable,))


def _migrate_store(url: str, database: str) -> list[str]:
    try:
        client = clickhouse.connect(url)
        try:
            return list(migrate_store(client, database))
        finally:
            client.close()
    except ChangedMigrationError:
        raise
    except Exception as exc:  # noqa: BLE001 - sorted by what cures it
        raise classify(exc) from None


def _patiently(part: str, act: Callable[[], T], waits_for: tuple[type[Exception], ...]) -> T:
    while True:
        try:
            return act()
        except waits_for as exc:
            log.warning("waiting_to_migrate", part=part, error=type(exc).__name__)
        time.sleep(PAUSE_S)
