"""The processes: settings in, parts wired, run until stopped."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Sequence
from typing import NoReturn

import structlog
import uvicorn

from api.app import create_app
from api.brakes import BrakeKeeper
from api.datasets.runs import SqlRunStore
from api.datasets.source import SqlDatasetSource
from api.db import Database
from api.ledger.tails import KafkaTails
from api.ops.broker import BrokerCheck
from api.parts import ApiParts
from api.parts import ApiSettings as ApiValues
from api.reconcile import KafkaTopicVersions, reconcile
from api.relay import Relay
from api.sealing import CredentialBox
from producers.kafka_access import client_options
from producers.kafka_rights import grant
from producers.pace import Unjudged
from producers.poller import Poller
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from producers.rows import RowRecords
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS
from sinks import client as clickhouse
from streams.config import BrakeLimits, WorkerConfig
from streams.worker import Worker
from sunledger import migrations
from sunledger.ops import OpsServer
from sunledger.settings import ApiSettings, MigrateSettings, ProducersSettings, WorkerSettings, raw

log = structlog.get_logger(__name__)

READ_LIMIT_S = 10.0
RECONCILE_S = 3600.0


def migrate(settings: MigrateSettings) -> list[str]:
    """Bring the registry's database, the topics and the store to the newest form; returns what was done."""
    migrations.sql(settings.sql_url.get_secret_value())
    migrations.topics(settings.kafka_access(), settings.topic_prefix, settings.topic_replication)
    if settings.kafka_grants:
        grant(settings.kafka_access(), settings.topic_prefix, settings.group)
    return migrations.store(settings.clickhouse_url.get_secret_value(), settings.clickhouse_database)


def run_api(settings: ApiSettings) -> int:
    """Run the API until SIGTERM."""
    migrations.sql(settings.sql_url.get_secret_value())
    publisher = Publisher(settings.kafka_access(), client_id="sunledger-api")
    broker = BrokerCheck(settings.kafka_access())
    parts = ApiParts(
        sql_url=settings.sql_url.get_secret_value(),
        redis_url=settings.redis_url.get_secret_value(),
        publisher=publisher,
        clickhouse=clickhouse.factory(
            settings.clickhouse_url.get_secret_value(),
            database=settings.clickhouse_database,
            timeout_s=READ_LIMIT_S,
        ),
        settings=_api_values(settings),
        broker_ready=broker,
        tails=KafkaTails(settings.kafka_access()),
    )
    try:
        uvicorn.run(
            create_app(parts),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            access_log=False,  # paths of reads hold external ids
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    finally:
        publisher.close()
    return 0


def _api_values(settings: ApiSettings) -> ApiValues:
    user_lifetime, device_lifetime = settings.lifetimes()
    return ApiValues(
        issuer=settings.issuer,
        keys_directory=settings.keys_directory,
        credential_key=raw(settings.credential_key)[:32],
        admin_email=settings.admin_email,
        admin_password=settings.admin_password.get_secret_value(),
        pseudonym_secret=raw(settings.pseudonym_secret),
        seal_secret=raw(settings.seal_secret),
        pseudonym_profile=settings.pseudonym_profile,
        topic_prefix=settings.topic_prefix,
        user_token_lifetime=user_lifetime,
        device_token_lifetime=device_lifetime,
        max_body_bytes=settings.max_body_bytes,
        max_reads=settings.max_reads,
        reads_limit=settings.reads_limit,
        source_hosts=settings.hosts(),
    )


def run_worker(settings: WorkerSettings) -> NoReturn:
    """Run a worker until SIGTERM (0) or a failure (1)."""
    worker = Worker(
        WorkerConfig(
            kafka=settings.kafka_access(),
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
            brake=BrakeLimits(settings.brake_share, settings.brake_run, settings.topic_brake),
        )
    )
    if settings.ops_port:
        OpsServer(settings.ops_host, settings.ops_port, worker.why_not_ready).start()
    migrations.topics(settings.kafka_access(), settings.topic_prefix, settings.topic_replication)
    migrations.store(settings.clickhouse_url.get_secret_value(), settings.clickhouse_database)
    code = worker.run()
    # a thread of Faust's may outlive its service after a failure; what is committed is stored by now
    logging.shutdown()
    os._exit(code)


def run_producers(settings: ProducersSettings) -> int:
    """Run S3 poller, outbox relay and brakes until SIGTERM (0) or until one of them fails (1)."""
    sql_url = settings.sql_url.get_secret_value()
    migrations.sql(sql_url)
    migrations.topics(settings.kafka_access(), settings.topic_prefix, settings.topic_replication)
    files = Publisher(
        settings.kafka_access(), client_id="sunledger-poller", delivery_timeout_s=FILE_DELIVERY_TIMEOUT_S
    )
    rows = RowRecords(
        PAYMENTS.full_name(settings.topic_prefix),
        Pseudonymizer(raw(settings.pseudonym_secret), settings.pseudonym_profile),
        Sealer(raw(settings.seal_secret)),
    )
    db = Database(sql_url)
    box = CredentialBox(raw(settings.credential_key)[:32])
    unjudged = Unjudged(settings.kafka_access(), f"{settings.topic_prefix}{settings.group}", rows.topic)
    poller = Poller(SqlDatasetSource(db, box), SqlRunStore(db), files, rows, unjudged, hosts=settings.hosts())
    brakes = BrakeKeeper(db, settings.kafka_access(), settings.topic_prefix)
    threads = [
        threading.Thread(target=part.run, name=name, daemon=True)
        for name, part in (("poller", poller), ("brakes", brakes))
    ]

    def missing() -> str | None:
        ended = [thread.name for thread in threads if not thread.is_alive()]
        return f"{', '.join(ended)} ended" if ended else None

    if settings.ops_port:
        OpsServer(settings.ops_host, settings.ops_port, missing).start()
    for thread in threads:
        thread.start()
    try:
        return asyncio.run(_relay_until_stopped(settings, db, (poller, brakes), threads))
    finally:
        for thread in threads:
            thread.join(20)
        files.close()
        db.close()


async def _relay_until_stopped(
    settings: ProducersSettings,
    db: Database,
    parts: Sequence[Poller | BrakeKeeper],
    threads: Sequence[threading.Thread],
) -> int:
    publisher = Publisher(settings.kafka_access(), client_id="sunledger-relay")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    versions = KafkaTopicVersions(client_options(settings.kafka_access(), {}), settings.topic_prefix)
    tasks = [
        asyncio.create_task(Relay(db, publisher, settings.topic_prefix).run(stop), name="relay"),
        asyncio.create_task(_reconcile(db, versions), name="reconcile"),
        *(asyncio.create_task(asyncio.to_thread(thread.join), name=thread.name) for thread in threads),
    ]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        failed = [task for task in done if task is not stopped]
        for task in failed:
            exc = task.exception()
            log.critical(
                "producers_failed", part=task.get_name(), error=type(exc).__name__ if exc else "ended"
            )
        return 1 if failed and not stop.is_set() else 0
    finally:
        stop.set()
        for part in parts:
            part.stop()
        for task in (*tasks[1:], stopped):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        publisher.close()


async def _reconcile(db: Database, versions: KafkaTopicVersions) -> None:
    """Compare SQL with the topics at start and every hour; what is missing is queued for the relay."""
    while True:
        try:
            await asyncio.to_thread(reconcile, db, versions)
        except Exception as exc:  # noqa: BLE001 - a check that fails is tried again, the relay goes on
            log.error("reconcile_failed", error=type(exc).__name__)
        await asyncio.sleep(RECONCILE_S)
