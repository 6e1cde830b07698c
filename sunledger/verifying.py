"""The process `sunledger verifier`: settings in, parts wired, run until stopped."""

import signal
import threading

import structlog

from sinks import client as clickhouse
from streams.verify.losses import known_losses
from streams.verify.verifier import Verifier, VerifierConfig
from sunledger.ops import OpsServer
from sunledger.settings import VerifierSettings

log = structlog.get_logger(__name__)

QUERY_LIMIT_S = 120
"""Longest time a question may run on the server, seconds: a full pass reads whole tables."""


def run_verifier(settings: VerifierSettings) -> int:
    """Run the verifier until SIGTERM (0); anything unexpected ends it with a traceback and code 1.

    It only reads: topics and tables that are not there yet are waited for like a part that is away.
    """
    verifier = Verifier(
        VerifierConfig(
            kafka=settings.kafka_access(),
            topic_prefix=settings.topic_prefix,
            group=f"{settings.topic_prefix}{settings.group}",
            interval_s=settings.verify_interval_s,
            full_interval_s=settings.verify_full_interval_s,
            stale_s=settings.verify_stale_s,
            window=settings.verify_window,
            losses=known_losses(settings.known_losses),
        ),
        clickhouse.factory(
            settings.clickhouse_url.get_secret_value(),
            database=settings.clickhouse_database,
            timeout_s=QUERY_LIMIT_S + 5,
            settings={"max_execution_time": QUERY_LIMIT_S},
        ),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if settings.ops_port:
        OpsServer(settings.ops_host, settings.ops_port, verifier.why_not_ready).start()
    verifier.run(stop)
    log.info("verifier_ended")
    return 0
