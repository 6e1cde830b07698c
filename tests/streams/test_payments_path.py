"""Payments from the topic to the views, through a real worker process."""

from tests.conftest import ClickHouse
from tests.streams.conftest import StartWorker
from tests.support.workers import Sender, payment, wait_until

OUTCOMES = "SELECT outcome, count() FROM ledger GROUP BY outcome"


def outcomes(clickhouse: ClickHouse, expected: int) -> dict[object, object]:
    """Rows of the ledger by outcome, once there are `expected`."""
    wait_until(
        lambda: clickhouse.value("SELECT count() FROM ledger") == expected, 60, f"{expected} ledger rows"
    )
    return dict(clickhouse.rows(OUTCOMES))


def test_every_row_gets_one_outcome(
    start_worker: StartWorker, sender: Sender, clickhouse: ClickHouse
) -> None:
    """Good rows are accepted, re-sends are duplicates, changes are conflicts, bad rows are quarantined."""
    organization = sender.organization()
    start_worker()
    good = [payment(number) for number in range(200)]
    sender.payments(good, organization)
    assert outcomes(clickhouse, 200) == {"accepted": 200}
    sender.payments(
        [
            *good[:50],
            payment(1, PAYMENT_AMOUNT="1"),
            payment(2, STATUS="reversed"),
            payment(3, STATUS="paid"),
            payment(300, PAYMENT_AMOUNT="abc"),
            b"not json",
            b"[1]",
            b"\xff\xfe",
            payment(301, TIMESTAMP="24:00"),
        ],
        organization,
    )
    assert outcomes(clickhouse, 258) == {"accepted": 200, "duplicate": 51, "conflict": 2, "quarantined": 5}
    assert clickhouse.value("SELECT count() FROM payments") == 200
