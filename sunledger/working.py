"""The worker's process: settings in, parts wired, run until stopped.

It imports nothing of the API: a worker must be back soon after a death.
"""

import logging
import os
from typing import NoReturn

from streams.config import BrakeLimits, WorkerConfig
from streams.worker import Worker
from sunledger import migrations
from sunledger.ops import OpsServer
from sunledger.settings import WorkerSettings, raw


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
