"""The harness itself: what would be wrong is found, and a failure is told by whoever saw it."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import ClickHouse
from tests.faults.books import Books
from tests.faults.feed import BLOCK, Feed, amount_of
from tests.faults.harness import __main__ as command
from tests.faults.harness import contents, refusals
from tests.faults.harness.devices import Devices
from tests.faults.harness.model import Model
from tests.faults.harness.run import Report
from tests.faults.sending import Sending
from tests.streams.world import ORG, World
from tests.support.workers import payment, wait_until


class _Lying(BaseHTTPRequestHandler):
    """An API that acknowledges fewer reads than it was sent."""

    def do_POST(self) -> None:
        """Registrations get an id and a token, reads a 202 of one read too few."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told = {"id": "x", "token": "t", "receipt": "r", "accepted": len(body.get("reads", ())) - 2}
        self.send_response(202)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def lying_api() -> Iterator[str]:
    """The address of such an API."""
    server = HTTPServer(("127.0.0.1", 0), _Lying)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_that_acknowledges_too_few_reads_fails_the_run(lying_api: str) -> None:
    """The devices' thread ends by its own assertion: who finishes the run is told."""
    registered = SimpleNamespace(post=lambda *_args, **_more: {"id": "x", "token": "t"})
    plant: Any = SimpleNamespace(api=registered, endpoints=SimpleNamespace(api=lying_api))
    devices = Devices(plant, 1)
    devices.start()

    def told() -> bool:
        try:
            devices.check()
        except AssertionError:
            return True
        return False

    wait_until(told, 60, "the failure of the devices")
    with pytest.raises(AssertionError, match="devices failed") as failed:
        devices.finish()
    assert isinstance(failed.value.__cause__, AssertionError)


def test_a_sender_that_hangs_fails_the_run() -> None:
    """A step that does not end is no step that went well."""
    holding: list[bool] = []
    sending = Sending("hanging", lambda: wait_until(lambda: holding, 60), lambda: 0.0)
    sending.start()
    with pytest.raises(AssertionError, match="still waits"):
        sending.finish(0.1)
    holding.append(True)
    sending.finish(60)


@pytest.mark.parametrize("failure", [OSError("no room"), AssertionError("lost"), KeyError("x")])
def test_whatever_ends_a_run_names_its_seed_and_the_next_one_runs(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not only what the checker finds: a run that could not even begin is a failed seed."""

    def run(seed: int, *_more: object) -> Report:
        if seed == 7:
            raise failure
        return Report(seed, [], {"topic": 1}, 1.0)

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["harness", "--seeds", "2", "--first", "7"])
    assert command.main() == 1
    told = capsys.readouterr().out
    assert "make faults SEEDS=1 FIRST_SEED=7" in told
    assert "seed 8 balances" in told
    assert "failed seeds: [7]" in told


@pytest.fixture
def books(clickhouse: ClickHouse) -> Iterator[Books]:
    """An auditor of this test's database; it asks no broker."""
    made = Books("127.0.0.1:1", "", "none", clickhouse.url, clickhouse.database)
    yield made
    made.close()


def test_two_verdicts_on_one_row_are_found(clickhouse: ClickHouse, books: Books) -> None:
    """In the table itself: the view shows one row per position, whatever is stored."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1)]))
    books.check_outcomes("payments")
    clickhouse.client.command("SYSTEM STOP MERGES ledger_rows")
    clickhouse.client.command(
        "INSERT INTO ledger_rows SELECT * REPLACE ('duplicate' AS outcome,"
        " stored_at + INTERVAL 1 SECOND AS stored_at) FROM ledger_rows"
    )
    assert books.outcomes() == {"accepted": 1}
    with pytest.raises(AssertionError, match="two outcomes of one row"):
        books.check_outcomes("payments")


def _feed(good: dict[int, tuple[int, int]], variants: int = 1) -> Any:
    """What a feed would say it sent: one payment."""
    sent = {1: Counter({str(variant): 1 for variant in range(variants)})}
    return SimpleNamespace(good={"payment": good, "read": {}}, contents={"payment": sent, "read": {}})


def test_a_wrong_amount_is_found(clickhouse: ClickHouse, books: Books) -> None:
    """What counts is what the accepted row held; and every case is there."""
    world = World(clickhouse).restore()
    rows = [payment(1, PAYMENT_AMOUNT=str(amount_of(1, variant))) for variant in (0, 1)]
    world.turn(world.batch([rows[0]], line="1"))
    world.turn(world.batch([rows[1]], 1, line="2"))
    plant: Any = SimpleNamespace(books=books)
    contents.check_feed(plant, _feed({1: (1, 0), 2: (1, 1)}, variants=2), ORG)
    with pytest.raises(AssertionError, match="1 payments differ"):
        contents.check_feed(plant, _feed({1: (1, 1), 2: (1, 0)}, variants=2), ORG)
    with pytest.raises(AssertionError, match="cases of payments: 1 of 0"):
        contents.check_feed(plant, _feed({1: (1, 0), 2: (1, 1)}), ORG)
    with pytest.raises(AssertionError, match="no good rows"):
        contents.check_feed(plant, _feed({2: (1, 1)}, variants=2), ORG)


@pytest.mark.parametrize(
    ("lines", "text", "found"),
    [
        ([3], "abc", ""),
        ([], "abc", "payment: "),
        ([3, 4], "abc", "payment: "),
        ([3], "xyz", "payment line 3"),
    ],
)
def test_what_is_missing_in_quarantine_or_sealed_wrongly_is_found(
    lines: list[int], text: str, found: str
) -> None:
    """By line, both ways; and the seal holds what was sent."""
    rows = [{"line": line, "topic": "payments", "position": str(line)} for line in lines]
    plant: Any = SimpleNamespace(
        pages=lambda path: rows if "record_type=payment" in path else [],
        api=SimpleNamespace(post=lambda _path: {"text": text, "fields": None}),
    )
    feed: Any = SimpleNamespace(refused={"payment": {3: b"abc"}, "read": {}})
    if not found:
        return refusals.check_feed(plant, feed, ORG, random.Random(1))
    with pytest.raises(AssertionError, match=found):
        refusals.check_feed(plant, feed, ORG, random.Random(1))


def test_the_model_follows_the_rule_and_people() -> None:
    """A change of STATUS takes the new version unless the case is open; anything else asks."""
    model = Model()
    for amount, status in [(1, "paid"), (1, "void"), (1, "paid"), (2, "void"), (1, "late")]:
        model.receive("P1", Decimal(amount), status, "M1")
    assert model.outcomes == {"accepted": 1, "conflict": 3, "duplicate": 1}
    found = model.payments["P1"]
    assert (found.counting, found.open) == ([(Decimal(1), "void")], True)
    assert model.totals("void") == {}
    found.decide(found.versions[-1:])
    assert (model.totals("void"), found.open) == ({"M1": (1, Decimal(1))}, False)


def test_the_feed_sends_late_and_reordered_rows() -> None:
    """Every number once, few in their place, and some long after their neighbours."""
    feed = Feed("127.0.0.1:1", "", ORG, seed=1)
    order = feed._orders["read"]
    numbers = [next(order) for _ in range(3000)]
    assert len(set(numbers)) == len(numbers)
    assert sum(number != place for place, number in enumerate(numbers)) > 2000
    assert sum(place - number > 2 * BLOCK for place, number in enumerate(numbers)) > 20
