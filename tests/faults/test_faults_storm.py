"""Workers, the group and the broker are struck while everything goes on: no row is lost or counted twice."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from sunledger.embedded.stack import Stack
from tests.faults.books import json_object
from tests.faults.feed import DEVICES, Feed
from tests.faults.world import World
from tests.support.workers import WorkerProcess

SEED = int(os.environ.get("SUNLEDGER_TEST_SEED", "20260516"))


class Storm:
    """Two workers and what happens to them, in an order and at moments that the seed decides."""

    def __init__(self, stack: Stack, world: World, feed: Feed, dice: random.Random) -> None:
        self._stack = stack
        self._world = world
        self._feed = feed
        self._dice = dice
        self._workers = [world.start(wait=False) for _ in range(2)]

    def strikes(self) -> Iterator[str]:
        """One strike after the other, each after a moment of sending; yields what was done."""
        # the second time of most of them falls on workers that were restarted themselves
        todo = [self.kill_worker, self.stop_worker, self.join_and_leave, self.kill_broker, self.kill_worker]
        self._dice.shuffle(todo)
        for strike in todo:
            self._feed.wait_more(self._dice.randrange(400, 1600))
            strike()
            yield strike.__name__

    def _replace(self, gone: WorkerProcess) -> None:
        self._workers.remove(gone)
        self._workers.append(self._world.start(wait=False))

    def kill_worker(self) -> None:
        """Kill -9 a worker; a new one takes its place."""
        struck = self._dice.choice(self._workers)
        struck.kill()
        self._replace(struck)

    def stop_worker(self) -> None:
        """SIGTERM a worker; it must end well, and a new one takes its place."""
        struck = self._dice.choice(self._workers)
        struck.wait_ready(90)
        assert struck.stop(60) == 0, struck.child.tail(20)
        self._replace(struck)

    def join_and_leave(self) -> None:
        """A third worker joins, gets its share, and leaves."""
        third = self._world.start(wait=False)
        third.wait_ready(90)
        self._feed.wait_more(self._dice.randrange(200, 800))
        assert third.stop(60) == 0, third.child.tail(20)

    def kill_broker(self) -> None:
        """Kill -9 the broker and start it over the same data."""
        self._stack.kill("kafka")
        self._feed.wait_more(self._dice.randrange(200, 800))
        self._stack.start("kafka")

    def revive(self) -> None:
        """Start a worker again that ended by itself, as a supervisor would; only failures may end one."""
        for worker in list(self._workers):
            if worker.child.poll() is not None:
                assert worker.child.poll() == 1, worker.child.tail(20)
                self._replace(worker)


@pytest.mark.timeout(300)
def test_a_storm_loses_nothing_and_doubles_nothing(own_stack: Stack, doomed: World) -> None:
    """After kill -9, SIGTERM, a rebalance and a broker restart every sent id is stored exactly once."""
    dice = random.Random(SEED)
    organization = doomed.sender.organization()
    for device in DEVICES:
        doomed.sender.device(organization, device)
    with Feed(own_stack.endpoints.kafka, doomed.prefix, organization, SEED) as feed:
        storm = Storm(own_stack, doomed, feed, dice)
        for done in storm.strikes():
            print(f"{done} after {feed.sent} records")
            storm.revive()
        feed.wait_more(200)
        feed.finish()
    doomed.wait_drained(["payments", "reads"])
    _check(doomed, feed)


def _check(world: World, feed: Feed) -> None:
    books = world.books
    for kind, topic in (("payment", "payments"), ("read", "reads")):
        received = books.check(topic)
        # the broker has each sent record once: otherwise the sums below would prove nothing
        lines = Counter(int(record.headers["line"] or b"0") for record in received)
        assert lines == Counter(line + 1 for line in feed.lines[kind])
        assert books.value(f"SELECT uniqExact(line) FROM ledger WHERE record_type = '{kind}'") == len(lines)
        assert any(record.origin is not None for record in books.records(topic)), "nothing was forwarded"
    assert books.outcomes() == dict(feed.expected())
    _check_payments(world, feed)
    _check_reads(world, feed)


def _check_payments(world: World, feed: Feed) -> None:
    contents = feed.contents["payment"]
    stored = Counter(
        {name: int(n) for name, n in world.books.rows("SELECT id, count() FROM payments GROUP BY id")}
    )
    assert stored == Counter(f"P{number}" for number in contents)
    amounts = dict(world.books.rows("SELECT id, toString(payment_amount) FROM payments"))
    for number, sent in contents.items():
        allowed = {_object(value)["PAYMENT_AMOUNT"] for value in sent}
        assert amounts[f"P{number}"] in allowed
    versions = world.books.value("SELECT count() FROM payment_versions FINAL")
    assert versions == sum(map(len, contents.values()))
    cases = world.books.value(
        "SELECT uniqExact(record_id) FROM ledger WHERE outcome = 'conflict' AND record_type = 'payment'"
    )
    assert cases == sum(len(sent) > 1 for sent in contents.values())


def _check_reads(world: World, feed: Feed) -> None:
    contents = feed.contents["read"]
    stored = world.books.rows(
        "SELECT device_external_id, toUnixTimestamp(end), count() FROM reads GROUP BY 1, 2"
    )
    sent = {
        (row["device_external_id"], row["end"])
        for values in contents.values()
        for row in [_object(next(iter(values)))]
    }
    assert {(device, int(end)) for device, end, _ in stored} == sent
    assert all(int(count) == 1 for *_, count in stored)
    versions = world.books.value("SELECT count() FROM read_versions FINAL")
    assert versions == sum(map(len, contents.values()))


def _object(value: str) -> dict[str, Any]:
    found = json_object(value.encode())
    assert found is not None
    return found
