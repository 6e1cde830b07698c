"""A row that ends the process is found, quarantined unread, and stops nobody else."""

from typing import Any

from sinks import client as clickhouse_client
from sinks.writer import Writer
from streams.handing import Handing
from streams.store import Abandoned, Always, Store
from streams.suspects import CHUNK_ROWS, DEATHS, Suspects
from tests.conftest import ClickHouse
from tests.streams.conftest import StartWorker
from tests.streams.made import batch_of, record
from tests.support.workers import Sender, payment, wait_until

STARTS = 14
COUNT = "SELECT count() FROM ledger"


def test_a_row_that_kills_the_worker_is_quarantined_unread(
    start_worker: StartWorker, sender: Sender, clickhouse: ClickHouse
) -> None:
    """Two deaths with the batch: chunks; two with the chunk: rows; two with the row: `killed_worker`."""
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

    def __init__(self, suspects: Suspects) -> None:
        self.pipeline = self
        self.suspects = suspects
        self.put_rows = 0

    async def put(self, batch: Any) -> None:
        """Take a row in hand."""
        self.put_rows += 1

    async def settled(self) -> None:
        """Nothing is in hand any more."""

    async def quiet(self) -> None:
        """Nothing is in hand any more."""


class Open:
    """Gates of partitions that are restored."""

    async def wait(self, batch: Any) -> bool:
        """Whoever comes may go on."""
        return True


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
        line = Line(suspects)
        handing = Handing({"payments": line}, Open(), lambda _batches, line=line: Revoked(line))  # type: ignore[dict-item,arg-type]
        await handing.of("payments")(batch)
    assert clickhouse.rows("SELECT DISTINCT kind FROM attempts ORDER BY kind") == [
        ("batch",), ("chunk",), ("chunk_done",),
    ]  # fmt: skip


def test_only_what_nobody_survived_is_taken_apart(clickhouse: ClickHouse) -> None:
    """Chunks at the same offsets for everybody; rows only of the chunk that processes died with."""
    clients = clickhouse_client.factory(clickhouse.url, database=clickhouse.database)
    store = Store(clients, Writer(clients, clickhouse.database), "payments")
    first, last = CHUNK_ROWS - 100, 3 * CHUNK_ROWS
    batch = batch_of([record(offset, b"{}", []) for offset in range(first, last)], "payments", 0)

    def taken() -> list[tuple[str, int]]:
        """Pieces up to the second chunk, in which the process dies."""
        suspects = Suspects(store, "payments", 0, "w")
        suspects.restore(clients(), 0, first)
        if not suspects.begin(batch, Always()):
            return []
        found = []
        for piece in suspects.pieces(batch, Always()):
            found.append((piece.kind, piece.at))
            if piece.batch.records[-1].offset >= CHUNK_ROWS + 7:
                return found
            suspects.survived(piece, Always())
        return found

    chunks = [("chunk", 0), ("chunk", CHUNK_ROWS)]
    assert [taken() for _ in range(4)] == [[], [], chunks, chunks]
    rows = [("chunk", 0), *(("row", offset) for offset in range(CHUNK_ROWS, CHUNK_ROWS + 8))]
    assert [taken() for _ in range(2)] == [rows, rows]
    suspects = Suspects(store, "payments", 0, "w")
    suspects.restore(clients(), 0, first)
    assert suspects.condemned == {CHUNK_ROWS + 7}
    suspects.begin(batch, Always())
    kinds = [piece.kind for piece in suspects.pieces(batch, Always())]
    assert kinds == ["chunk", *["row"] * CHUNK_ROWS, "chunk"]


def test_a_batch_that_the_brake_holds_kills_nobody(clickhouse: ClickHouse) -> None:
    """Workers that are stopped while their topic is stopped do not make its next batch a suspect."""
    clients = clickhouse_client.factory(clickhouse.url, database=clickhouse.database)
    store = Store(clients, Writer(clients, clickhouse.database), "payments")
    batch = batch_of([record(0, b"{}", [])], "payments", 0)

    def begun(held: bool) -> bool:
        """A start that ends with the batch in hand; whether it is taken in pieces."""
        suspects = Suspects(store, "payments", 0, "w")
        suspects.restore(clients(), 0, 0)
        careful = suspects.begin(batch, Always())
        if held:
            suspects.harmless([batch], Always())
            suspects.harmless([batch], Always())  # a turn may be decided again
        return careful

    assert not any(begun(held=True) for _ in range(3 * DEATHS))
    assert [begun(held=False) for _ in range(DEATHS + 1)] == [False] * DEATHS + [True]
