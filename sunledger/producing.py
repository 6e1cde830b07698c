"""The process `sunledger producers`: settings in, parts wired, run until stopped."""

import asyncio
import signal
import threading
from collections.abc import Sequence
from datetime import timedelta

import structlog

from api.brakes import BrakeKeeper
from api.datasets.polls import SqlPollStore
from api.datasets.rotation import seal_anew
from api.datasets.source import SqlDatasetSource
from api.db import Database
from api.reconcile import KafkaTopicVersions, reconcile
from api.relay import Relay
from api.sealing import CredentialBox
from producers.collector import collect_seldom
from producers.kafka_access import client_options
from producers.pace import Unjudged
from producers.poller import Poller
from producers.pollers import Pollers
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from producers.rows import RowRecords
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS
from sunledger import migrations
from sunledger.ops import OpsServer
from sunledger.settings import ProducersSettings, raw

log = structlog.get_logger(__name__)

RECONCILE_S = 3600.0


def run_producers(settings: ProducersSettings) -> int:
    """Run pollers, outbox relay and brakes until SIGTERM (0) or until one of them fails (1)."""
    collect_seldom(50_000)
    sql_url = settings.sql_url.get_secret_value()
    migrations.sql(sql_url)
    migrations.topics(settings.kafka_access(), settings.topic_prefix, settings.topic_replication)
    files = Publisher(
        settings.kafka_access(), client_id="sunledger-poller", delivery_timeout_s=FILE_DELIVERY_TIMEOUT_S
    )
    db = Database(sql_url)
    pollers = _pollers(settings, db, files)
    brakes = BrakeKeeper(db, settings.kafka_access(), settings.topic_prefix)
    threads = [
        threading.Thread(target=part.run, name=name, daemon=True)
        for name, part in (("pollers", pollers), ("brakes", brakes))
    ]

    def missing() -> str | None:
        ended = [thread.name for thread in threads if not thread.is_alive()]
        return f"{', '.join(ended)} ended" if ended else pollers.why_not_ready()

    if settings.ops_port:
        OpsServer(settings.ops_host, settings.ops_port, missing).start()
    for thread in threads:
        thread.start()
    try:
        return asyncio.run(_relay_until_stopped(settings, db, (pollers, brakes), threads))
    finally:
        for thread in threads:
            thread.join(20)
        files.close()
        db.close()


def _pollers(settings: ProducersSettings, db: Database, files: Publisher) -> Pollers:
    """The pollers, after all credentials were sealed with the newest key."""
    rows = RowRecords(
        PAYMENTS.full_name(settings.topic_prefix),
        Pseudonymizer(raw(settings.pseudonym_secret), settings.pseudonym_profile),
        Sealer(raw(settings.seal_secret)),
    )
    box = CredentialBox(*settings.credential_keys())
    if sealed := seal_anew(db, box):
        log.info("credentials_sealed_anew", count=sealed)
    unjudged = Unjudged(settings.kafka_access(), f"{settings.topic_prefix}{settings.group}", rows.topic)
    sheets = settings.sheets()
    return Pollers(
        [
            Poller(
                SqlDatasetSource(db, box),
                SqlPollStore(db),
                files,
                rows,
                unjudged,
                hosts=settings.hosts(),
                sheets=sheets,
                jitter=timedelta(seconds=settings.schedule_jitter_s),
            )
            for _ in range(settings.pollers)
        ]
    )


async def _relay_until_stopped(
    settings: ProducersSettings,
    db: Database,
    parts: Sequence[Pollers | BrakeKeeper],
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
