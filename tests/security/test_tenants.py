"""One organisation's records never touch, show or count as another's, whatever they say about themselves."""

from pathlib import Path

import pytest

from producers.publisher import Record
from schemas import headers
from schemas.topics import PAYMENTS
from sinks import queries
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.support.workers import Sender, WorkerProcess, payment, read, wait_until

FORGED = ("0", "1", "x", "18446744073709551615", "0.AAAA", "1.{}", "{}.org_b")


def test_rows_of_one_organisation_leave_anothers_alone(
    clickhouse: ClickHouse, endpoints: Endpoints, kafka_prefix: str, tmp_path: Path
) -> None:
    """Its IDs, datasets, devices, positions and receipts, named in every header and column that names one."""
    sender = Sender(endpoints.kafka, kafka_prefix)
    worker = WorkerProcess(tmp_path, endpoints.kafka, kafka_prefix, clickhouse.url, clickhouse.database)
    try:
        victim, thief = sender.organization(), sender.organization()
        sender.device(victim, "D1")
        sender.project(victim, "prj_v")
        sender.connection(victim, "prj_v", "M1")
        sender.payments([payment(1)], victim, source="s3", source_ref="s3://b/k@1", line="2")
        sender.reads([read("D1", 1)], victim)
        _settled(clickhouse, 2)
        before = _all_of(clickhouse, victim)
        position = clickhouse.value("SELECT max(position) FROM ledger_rows WHERE topic LIKE '%payments'")

        # the same ID with another amount: the thief's own first row, no conflict with the victim's
        sender.payments([payment(1, PAYMENT_AMOUNT="9")], thief)
        # the victim's file and line, as if it were a redelivery of it
        sender.payments([payment(2)], thief, source="s3", source_ref="s3://b/k@1", line="2")
        # the victim's device, and a meter of the victim's
        sender.reads([read("D1", 2)], thief)
        sender.payments([payment(3, METER_ID="M1", ORGANIZATION_ID=victim, organization_id=victim)], thief)
        # a row passed off as the victim's own, sent on by a worker or replayed from quarantine
        for forged in FORGED:
            text = forged.format(position)
            for name in (headers.ORIGIN, headers.REPLAY_OF):
                sender.payments([payment(4)], thief, **{name: text})
        _settled(clickhouse, 2 + 4 + 2 * len(FORGED))

        assert _all_of(clickhouse, victim) == before
        outcomes = dict(
            clickhouse.rows(
                "SELECT record_id, any(outcome) FROM ledger WHERE organization_id = {o:String}"
                " AND record_id IN ('P1', 'P2', 'P3') GROUP BY record_id",
                o=thief,
            )
        )
        assert outcomes == {"P1": "accepted", "P2": "accepted", "P3": "accepted"}
        assert clickhouse.value("SELECT count() FROM conflicts") == 0
        assert clickhouse.rows("SELECT organization_id FROM reads") == [(victim,)]
        assert clickhouse.value("SELECT sum(payments) FROM verification") == before["verification"][0][-1]
        counts = queries.outcome_counts(clickhouse.client, victim, "", ["s3://b/k@1"])
        assert counts["received"] == 1
        assert worker.stop() == 0
    finally:
        worker.kill()
        worker.child.wait(30)
        sender.close()


def _settled(clickhouse: ClickHouse, rows: int) -> None:
    wait_until(
        lambda: clickhouse.value("SELECT count() FROM ledger") == rows, 120, f"{rows} rows with an outcome"
    )


def _all_of(clickhouse: ClickHouse, organization: str) -> dict[str, list[tuple[object, ...]]]:
    """What an analyst of this organisation can see of its rows."""
    asked = {
        "ledger": "topic, position, record_id, outcome, reasons, source_ref, line",
        "payments": "id, payment_amount, connection_id",
        "reads": "device_external_id, energy_wh",
        "quarantine": "topic, position",
        "verification": "connection_id, payments",
    }
    return {
        view: clickhouse.rows(
            f"SELECT {columns} FROM {view} WHERE organization_id = {{o:String}} ORDER BY ALL", o=organization
        )
        for view, columns in asked.items()
    }


@pytest.mark.parametrize("extra", ["twice", "bytes"])
def test_a_record_has_one_organisation(
    clickhouse: ClickHouse, endpoints: Endpoints, kafka_prefix: str, tmp_path: Path, extra: str
) -> None:
    """Two organisations in the headers of one record are none: it is refused, not given to the last."""
    sender = Sender(endpoints.kafka, kafka_prefix)
    worker = WorkerProcess(tmp_path, endpoints.kafka, kafka_prefix, clickhouse.url, clickhouse.database)
    try:
        one, two = sender.organization(), sender.organization()
        other = two.encode() if extra == "twice" else b"\xff" + two.encode()
        given = [(headers.ORGANIZATION_ID, one.encode()), (headers.ORGANIZATION_ID, other)]
        topic = PAYMENTS.full_name(kafka_prefix)
        sender.send([Record(topic, b"", b'{"ID": "P1"}', given, 0)])
        _settled(clickhouse, 1)
        assert clickhouse.rows("SELECT outcome FROM ledger") == [("quarantined",)]
        assert clickhouse.value("SELECT count() FROM payments") == 0
    finally:
        worker.kill()
        worker.child.wait(30)
        sender.close()
