"""Pauses the datasets that the workers say are failing: the one who feeds them stops, nobody else."""

import threading
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, Message
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.audit.service import Actor
from api.db import Database
from api.ids import is_id
from api.models import Dataset
from api.registry import repository
from api.relay_metrics import DATASETS_PAUSED
from producers.kafka_access import Kafka, client_options
from schemas.alerts import DatasetFailing
from schemas.topics import ALERTS

log = structlog.get_logger(__name__)

BRAKE: Final = "brake"
"""Who pauses, in the audit."""
ALERTS_AT_ONCE: Final = 100
POLL_S: Final = 0.5
AWAY_S: Final = 2.0


class BrakeKeeper:
    """Reads the topic `alerts` and pauses what it names. Any number may run: a group shares the work.

    Args:
        kafka: the broker, with credentials if it asks for them.
        prefix: the installation's topic prefix.
    """

    def __init__(self, db: Database, kafka: Kafka, prefix: str) -> None:
        self._db = db
        self._stopping = threading.Event()
        own = {
            "group.id": f"{prefix}brakes",
            "enable.auto.commit": False,
            # an alert that nobody has read may be older than this group
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
        self._consumer = Consumer(client_options(kafka, own))
        self._topic = ALERTS.full_name(prefix)

    def stop(self) -> None:
        """Ask it to end soon."""
        self._stopping.set()

    def run(self) -> None:
        """Keep until `stop` is called. Blocks; a database that is away is waited for."""
        self._consumer.subscribe([self._topic])
        try:
            while not self._stopping.is_set():
                for message in self._consumer.consume(ALERTS_AT_ONCE, timeout=POLL_S):
                    self._take(message)
        finally:
            self._consumer.close()

    def _take(self, message: Message) -> None:
        """Act on one alert and commit it; an alert twice changes nothing."""
        if (error := message.error()) is not None:
            log.warning("alerts_read_error", error=error.name())
            return
        try:
            alert = DatasetFailing.model_validate_json(message.value() or b"")
        except ValidationError:
            log.error("alert_refused", offset=message.offset())
        else:
            while not self._acted(alert):
                if self._stopping.wait(AWAY_S):
                    return
        try:
            self._consumer.commit(message, asynchronous=False)
        except KafkaException as exc:  # it comes again, and changes nothing
            log.warning("alert_not_committed", error=exc.args[0].name())

    def _acted(self, alert: DatasetFailing) -> bool:
        try:
            with self._db.write() as session:
                pause(session, alert)
        except (OperationalError, InterfaceError, PoolTimeout) as exc:
            log.warning("brake_waits", part="sql", error=type(exc).__name__)
            return False
        except DBAPIError as exc:  # the database will never take it: whoever waits for that stops all others
            log.error("alert_refused", error=type(exc).__name__)
        return True


def pause(session: Session, alert: DatasetFailing) -> bool:
    """Pause the dataset that an alert names; False when there is nothing to pause.

    Rows that failed under an earlier version say nothing about a dataset that somebody has changed, or
    resumed, since.
    """
    if not is_id(alert.dataset_id) or not is_id(alert.organization_id):
        owner = alert.organization_id if is_id(alert.organization_id) else ""
        log.error("rows_fail_outside_datasets", organization_id=owner, topic=alert.topic)
        return False
    query = select(Dataset).where(
        Dataset.id == alert.dataset_id, Dataset.organization_id == alert.organization_id
    )
    dataset = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if dataset is None:
        log.error("rows_fail_outside_datasets", organization_id=alert.organization_id, topic=alert.topic)
        return False
    if dataset.archived or dataset.state != "active" or dataset.version != alert.dataset_version:
        return False
    changes = {"state": "paused", "state_detail": alert.summary}
    repository.change(session, Actor(BRAKE, ""), dataset, changes, reason=alert.summary)
    DATASETS_PAUSED.labels(alert.topic).inc()
    log.error("dataset_paused", dataset_id=dataset.id, rows=alert.rows, bad=alert.bad, run=alert.run)
    return True
