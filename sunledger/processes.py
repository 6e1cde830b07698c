"""The processes: settings in, parts wired, run until stopped."""

import logging
import os
from typing import NoReturn

import structlog
import uvicorn

from api.app import create_app
from api.ledger.tails import KafkaTails
from api.ops.broker import BrokerCheck
from api.parts import ApiParts, FileParts
from api.parts import ApiSettings as ApiValues
from producers.kafka_rights import grant
from producers.pace import Unjudged
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from schemas.topics import PAYMENTS
from sinks import client as clickhouse
from streams.config import BrakeLimits, WorkerConfig
from streams.worker import Worker
from sunledger import migrations
from sunledger.ops import OpsServer
from sunledger.settings import ApiSettings, MigrateSettings, WorkerSettings, raw

log = structlog.get_logger(__name__)

READ_LIMIT_S = 10.0


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
    files = Publisher(
        settings.kafka_access(), client_id="sunledger-uploads", delivery_timeout_s=FILE_DELIVERY_TIMEOUT_S
    )
    payments = PAYMENTS.full_name(settings.topic_prefix)
    unjudged = Unjudged(settings.kafka_access(), f"{settings.topic_prefix}{settings.group}", payments)
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
        sheets=settings.sheets() if settings.google_credentials_file else None,
        files=FileParts(files, unjudged),
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
        files.close()
        publisher.close()
    return 0


def _api_values(settings: ApiSettings) -> ApiValues:
    user_lifetime, device_lifetime, organization_lifetime = settings.lifetimes()
    credential_key, *before = settings.credential_keys()
    return ApiValues(
        issuer=settings.issuer,
        keys_directory=settings.keys_directory,
        credential_key=credential_key,
        credential_keys_before=tuple(before),
        admin_email=settings.admin_email,
        admin_password=settings.admin_password.get_secret_value(),
        pseudonym_secret=raw(settings.pseudonym_secret),
        seal_secret=raw(settings.seal_secret),
        pseudonym_profile=settings.pseudonym_profile,
        topic_prefix=settings.topic_prefix,
        user_token_lifetime=user_lifetime,
        device_token_lifetime=device_lifetime,
        organization_token_lifetime=organization_lifetime,
        max_body_bytes=settings.max_body_bytes,
        max_reads=settings.max_reads,
        max_payments=settings.max_payments,
        reads_limit=settings.reads_limit,
        uploads_directory=settings.uploads_directory,
        uploads_reserve_bytes=settings.uploads_reserve_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        payments_limit=settings.payments_limit,
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
