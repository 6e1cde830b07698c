"""The processes: settings in, parts wired, run until stopped."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
import uvicorn
from confluent_kafka.admin import AdminClient

from api.app import create_app
from api.migrate import upgrade
from api.parts import ApiParts
from api.parts import ApiSettings as ApiValues
from producers.publisher import Publisher
from producers.topics import create_topics
from sinks import client as clickhouse
from sinks.migrate import migrate as migrate_store
from streams.config import WorkerConfig
from streams.topic_ids import TopicsMissing
from streams.worker import Worker
from sunledger.ops import OpsServer
from sunledger.settings import ApiSettings, MigrateSettings, WorkerSettings, raw

log = structlog.get_logger(__name__)
T = TypeVar("T")

PAUSE_S = 0.5


def migrate(settings: MigrateSettings) -> list[str]:
    """Bring the registry's database, the topics and the store to the newest form; returns what was done."""
    upgrade(settings.sql_url.get_secret_value())
    create_topics(settings.kafka, settings.topic_prefix, settings.topic_replication)
    connection = clickhouse.connect(settings.clickhouse_url.get_secret_value())
    try:
        return migrate_store(connection, settings.clickhouse_database)
    finally:
        connection.close()


def run_api(settings: ApiSettings) -> int:
    """Run the API until SIGTERM."""
    publisher = Publisher(settings.kafka, client_id="sunledger-api")
    user_lifetime, device_lifetime = settings.lifetimes()
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    parts = ApiParts(
        sql_url=settings.sql_url.get_secret_value(),
        redis_url=settings.redis_url.get_secret_value(),
        publisher=publisher,
        clickhouse=clickhouse.factory(
            settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database
        ),
        settings=ApiValues(
            issuer=settings.issuer,
            keys_directory=settings.keys_directory,
            credential_key=raw(settings.credential_key)[:32],
            admin_email=settings.admin_email,
            admin_password=settings.admin_password.get_secret_value(),
            topic_prefix=settings.topic_prefix,
            user_token_lifetime=user_lifetime,
            device_token_lifetime=device_lifetime,
            max_body_bytes=settings.max_body_bytes,
            max_reads=settings.max_reads,
            reads_limit=settings.reads_limit,
        ),
        broker_ready=lambda: _ask_broker(admin),
    )
    try:
        uvicorn.run(
            create_app(parts),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    finally:
        publisher.close()
    return 0


def _ask_broker(admin: AdminClient) -> None:
    admin.list_topics(timeout=2)


def run_worker(settings: WorkerSettings) -> int:
    """Run a worker until SIGTERM (0) or a failure (1)."""
    config = WorkerConfig(
        kafka=settings.kafka,
        topic_prefix=settings.topic_prefix,
        group=f"{settings.topic_prefix}{settings.group}",
        name=settings.worker_name,
        clickhouse_url=settings.clickhouse_url.get_secret_value(),
        database=settings.clickhouse_database,
        pseudonym_secret=raw(settings.pseudonym_secret),
        seal_secret=raw(settings.seal_secret),
        pseudonym_profile=settings.pseudonym_profile,
        session_timeout_s=settings.session_timeout_s,
        heartbeat_s=settings.heartbeat_s,
        rebalance_timeout_s=settings.rebalance_timeout_s,
        insert_limit_s=settings.insert_limit_s,
        commit_interval_s=settings.commit_interval_s,
        fetch_rows=settings.fetch_rows,
        max_rows_in_hand=settings.max_rows_in_hand,
        stall_limit_s=settings.stall_limit_s,
    )
    worker = Worker(config)
    if settings.ops_port:
        OpsServer(settings.ops_host, settings.ops_port, lambda: None if worker.ready else "restoring").start()
    return worker.run()
