"""A row that ends the process is found, quarantined unread, and stops nobody else."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

from sinks import client as clickhouse_client
from sinks.writer import Writer
from streams.store import Abandoned, Always, Store
from streams.suspects import DEATHS, Suspects
from streams.worker import Worker
from tests.conftest import ClickHouse
from tests.streams.conftest import StartWorker
from tests.streams.made import batch_of, record
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


class Line:
    """A topic's line whose partition is given up while a row is in hand."""

    def __init__(self) -> None:
        self.pipeline = self
        self.put_rows = 0

    async def put(self, batch: Any) -> None:
        """Take a row in hand."""
        self.put_rows += 1

    async def settled(self) -> None:
        """Nothing is in hand any more."""


class Revoked:
    """A lease that ends once a row was taken in hand."""

    giving_up = False

    def __init__(self, line: Line) -> None:
        self._line = line

    def renew(self) -> None:
        """Stand until then."""
        if self._line.put_rows:
            raise Abandoned


async def test_rebalances_are_no_deaths(clickhouse: ClickHouse) -> None:
    """A row whose partition went elsewhere while it was in hand is not condemned, however often."""
    clients = clickhouse_client.factory(clickhouse.url, database=clickhouse.database)
    store = Store(clients, Writer(clients, clickhouse.database), "payments")
    for _ in range(2 * DEATHS + 1):
        suspects = Suspects(store, "payments", 0, "w")
        suspects.restore(clients(), 0, 0)
        assert not suspects.condemned
        batch = batch_of([record(0, b"{}", []), record(1, b"{}", [])], "payments", 0)
        suspects.begin(batch, Always())
        line = Line()
        worker = SimpleNamespace(
            _alone=asyncio.Lock(),
            _lines={"payments": line},
            _lease_of=lambda _batches, line=line: Revoked(line),
        )
        worker._alive_after = partial(Worker._alive_after, worker)
        await Worker._row_by_row(worker, line, suspects, batch)  # type: ignore[arg-type]
    assert clickhouse.rows("SELECT DISTINCT kind FROM attempts ORDER BY kind") == [
        ("batch",), ("done",), ("row",),
    ]  # fmt: skip
