"""A row that ends the process is found, quarantined unread, and stops nobody else."""

from tests.conftest import ClickHouse
from tests.streams.conftest import StartWorker
from tests.support.workers import Sender, payment, wait_until

STARTS = 14
COUNT = "SELECT count() FROM ledger"


def test_a_row_that_kills_the_worker_is_quarantined_unread(
    start_worker: StartWorker, sender: Sender, clickhouse: ClickHouse
) -> None:
    """Two deaths: row by row; two deaths at the row: `killed_worker`. The rows around it are stored."""
    organization = sender.organization()
    rows = [payment(number) for number in range(40)]
    rows[17] = payment(17, NOTES="deadly-row")
    sender.payments(rows, organization)
    for _ in range(STARTS):
        worker = start_worker(wait=False, module="tests.support.deadly_worker", insert_limit_s=1)
        wait_until(
            lambda w=worker: w.child.poll() is not None or clickhouse.value(COUNT) == 40,  # type: ignore[misc]
            90,
            "the worker's end, or the last row",
        )
        if worker.child.poll() is None:
            break
    outcomes = dict(clickhouse.rows("SELECT outcome, count() FROM ledger GROUP BY outcome"))
    assert outcomes == {"accepted": 39, "quarantined": 1}
    assert clickhouse.rows("SELECT reasons FROM ledger WHERE outcome = 'quarantined'") == [
        (["killed_worker"],)
    ]
