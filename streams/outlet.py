"""What the worker itself publishes: rows of other homes, refused rows, alerts. Blocks until acknowledged."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import structlog

from producers.publisher import Publisher, PublishError, Record
from schemas import headers
from schemas.alerts import DatasetFailing
from schemas.identity import netstrings, partition_of
from schemas.origins import OriginSigner
from schemas.outcomes import Outcome
from schemas.topics import ALERTS, QUARANTINE
from streams.rows import Row
from streams.store import Lease
from streams.turn import Verdict

log = structlog.get_logger(__name__)

SEND_LIMIT_S = 30.0
SEND_PAUSE_S = 0.5


class Outlet:
    """Publishes for the worker, again and again until the broker has everything.

    Args:
        publisher: sends records.
        prefix: the installation's topic prefix.
        signer: signs the origin of forwarded rows.
    """

    def __init__(self, publisher: Publisher, prefix: str, signer: OriginSigner) -> None:
        self._publisher = publisher
        self._prefix = prefix
        self._signer = signer
        self._pause = threading.Event()

    def forward(self, topic: str, rows: Sequence[tuple[Row, str]], partitions: int, lease: Lease) -> None:
        """Send rows on to the partition of their identity, under the position they were received at."""
        records = []
        for row, key in rows:
            given = [(n, v) for n, v in row.record.headers if n not in (headers.ORIGIN, headers.RECEIVED_AT)]
            received = datetime.fromtimestamp(row.received_ms / 1000, UTC).isoformat(timespec="milliseconds")
            given.append((headers.RECEIVED_AT, received.encode()))
            given.append(
                (headers.ORIGIN, self._signer.sign(headers.ORIGIN, row.organization_id, row.position))
            )
            value = row.record.value or b""
            records.append(Record(topic, key.encode(), value, given, partition_of(key, partitions)))
        self._send(records, lease)

    def announce(self, topic: str, verdicts: Sequence[Verdict], lease: Lease) -> None:
        """Publish refused rows' reasons and lineage to the quarantine topic; no values, no names."""
        records = [
            Record(
                QUARANTINE.full_name(self._prefix),
                f"{topic}:{verdict.row.position}".encode(),
                _notice(topic, verdict),
                [(headers.ORGANIZATION_ID, verdict.row.organization_id.encode())],
            )
            for verdict in verdicts
            if verdict.outcome is Outcome.QUARANTINED
        ]
        self._send(records, lease)

    def alert(self, alerts: Sequence[DatasetFailing], lease: Lease) -> None:
        """Tell producers and admins of failing datasets."""
        records = [
            Record(
                ALERTS.full_name(self._prefix),
                netstrings(alert.organization_id, alert.dataset_id).encode(),
                alert.model_dump_json().encode(),
                [(headers.ORGANIZATION_ID, alert.organization_id.encode())],
            )
            for alert in alerts
        ]
        self._send(records, lease)

    def _send(self, records: list[Record], lease: Lease) -> None:
        while records:
            lease.renew()
            group = self._publisher.group()
            try:
                for record in records:
                    group.add_waiting(record, SEND_LIMIT_S)
                group.wait(SEND_LIMIT_S)
                return
            except PublishError as exc:
                # what was acknowledged goes again: a forward is known by its origin, a notice by its key
                log.warning("publish_retry", records=len(records), error=str(exc))
                self._pause.wait(SEND_PAUSE_S)


def _notice(topic: str, verdict: Verdict) -> bytes:
    row = verdict.row
    return orjson.dumps(
        {
            "topic": topic,
            "position": row.position,
            "organization_id": row.organization_id,
            "record_id": verdict.record_id,
            "reasons": list(verdict.reasons),
            "dataset_id": row.dataset_id,
            "source": row.source,
            "source_ref": row.source_ref,
            "line": row.line,
        }
    )
