"""The store or the broker is away for longer than every time-out: nothing is lost, work goes on by itself."""

import re
import signal
import time

from confluent_kafka.admin import AdminClient

from schemas.topics import PAYMENTS, READS
from sunledger.embedded.stack import Stack
from tests.faults.feed import DEVICES, Feed
from tests.faults.world import GROUP, SHORT, World, alive, resident_mb
from tests.support.workers import WorkerProcess, wait_until

PARTITIONS = PAYMENTS.partitions + READS.partitions
LONGEST_S = max(SHORT["session_timeout_s"], SHORT["rebalance_timeout_s"], SHORT["insert_limit_s"])
OUTAGE_S = LONGEST_S + 1
RATE = 600


def _organization(world: World) -> str:
    organization = world.sender.organization()
    for device in DEVICES:
        world.sender.device(organization, device)
    return organization


def _send_through(feed: Feed, seconds: float) -> None:
    """Return after so many seconds of an outage, in which the feed goes on."""
    ended = time.monotonic() + seconds
    feed.wait_more(100)
    wait_until(lambda: time.monotonic() > ended, seconds + 60, "the outage's length")


def finish(world: World, feed: Feed) -> None:
    """End the feed, wait until everything is judged, and balance the books."""
    feed.wait_more(200)
    feed.finish()
    world.wait_drained(["payments", "reads"])
    for topic in ("payments", "reads"):
        world.books.check(topic)
    assert world.books.outcomes() == dict(feed.expected())
    assert world.books.value("SELECT count() FROM payments") == len(feed.contents["payment"])
    assert world.books.value("SELECT count() FROM reads") == len(feed.contents["read"])


def _rows_in(worker: WorkerProcess) -> int:
    return int(sum(map(float, re.findall(r"^sunledger_rows_in_total\{.*\} (\S+)", worker.metrics(), re.M))))


def _stored(world: World) -> int:
    """Rows that have an outcome; what a worker took in beyond them is in its hand."""
    return int(world.books.value("SELECT count() FROM ledger_rows"))


def _begun(world: World) -> int:
    """Partitions of which rows have an outcome."""
    return int(world.books.value("SELECT uniqExact(topic, partition) FROM ledger_rows"))


def test_a_store_that_is_away_delays_and_loses_nothing(own_stack: Stack, doomed: World) -> None:
    """With ClickHouse away for longer than every time-out workers hold back, stay in the group, go on."""
    in_hand = 2000
    workers = [doomed.start(max_rows_in_hand=in_hand, fetch_rows=500, wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    organization = _organization(doomed)
    with Feed(own_stack.endpoints.kafka, doomed.prefix, organization, seed=2, a_second=4 * RATE) as feed:
        feed.wait_more(500)
        wait_until(lambda: doomed.books.value("SELECT count() FROM payments") > 0, 60, "payments stored")
        own_stack.kill("clickhouse")
        before, memory = [_rows_in(worker) for worker in workers], max(map(resident_mb, workers))
        _send_through(feed, OUTAGE_S)
        assert alive(*workers)
        # two topics: what is in hand, one batch a partition beyond it, what was settled just then
        for worker, rows in zip(workers, before, strict=True):
            assert _rows_in(worker) - rows <= 2 * (in_hand + 4 * 500) + in_hand
        assert max(map(resident_mb, workers)) < memory + 200
        own_stack.start("clickhouse")
        finish(doomed, feed)
    assert alive(*workers)
    members = AdminClient({"bootstrap.servers": own_stack.endpoints.kafka, "log_level": 0})
    group = f"{doomed.prefix}{GROUP}"
    described = members.describe_consumer_groups([group])[group].result(20)
    assert len(described.members) == 2


def test_a_worker_can_be_stopped_while_the_store_is_away(own_stack: Stack, doomed: World) -> None:
    """SIGTERM ends it although what it has in hand cannot be stored; the next one stores it."""
    worker = doomed.start(max_rows_in_hand=1000, fetch_rows=200)
    organization = _organization(doomed)
    with Feed(own_stack.endpoints.kafka, doomed.prefix, organization, seed=8, a_second=RATE) as feed:
        feed.wait_more(300)
        # before the first batch of a partition is taken in hand, the store has to say who died at it
        wait_until(lambda: _begun(doomed) == PARTITIONS, 60, "rows of every partition")
        stored = _stored(doomed)
        own_stack.kill("clickhouse")
        wait_until(lambda: _rows_in(worker) > stored + 200, 60, "batches in hand")
        assert worker.stop(60) is not None, worker.child.tail(20)
        own_stack.start("clickhouse")
        doomed.start()
        finish(doomed, feed)


def test_a_broker_that_is_away_stops_nobody_for_ever(own_stack: Stack, doomed: World) -> None:
    """With Kafka killed for longer than the session time-out workers resume by themselves."""
    workers = [doomed.start(wait=False) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    organization = _organization(doomed)
    with Feed(own_stack.endpoints.kafka, doomed.prefix, organization, seed=3, a_second=RATE) as feed:
        feed.wait_more(500)
        wait_until(lambda: doomed.books.value("SELECT count() FROM payments") > 0, 60, "payments stored")
        own_stack.kill("kafka")
        _send_through(feed, OUTAGE_S)
        own_stack.start("kafka")
        finish(doomed, feed)
    assert alive(*workers), [worker.child.tail(20) for worker in workers if not alive(worker)]
    for worker in workers:
        worker.wait_ready()


def test_a_zombie_writes_nothing_twice(own_stack: Stack, doomed: World) -> None:
    """A worker stopped past its session, inserts under way, wakes up after a take-over: no row doubles."""
    zombie = doomed.start(max_rows_in_hand=1000, fetch_rows=200)
    organization = _organization(doomed)
    with Feed(own_stack.endpoints.kafka, doomed.prefix, organization, seed=7, a_second=RATE) as feed:
        feed.wait_more(300)
        # before the first batch of a partition is taken in hand, the store has to say who died at it
        wait_until(lambda: _begun(doomed) == PARTITIONS, 60, "rows of every partition")
        # its inserts are sent and not answered; the store runs them after their sender was declared dead
        stored = _stored(doomed)
        own_stack.pause("clickhouse")
        wait_until(lambda: _rows_in(zombie) > stored + 200, 60, "batches in hand")
        zombie.kill(signal.SIGSTOP)
        own_stack.resume("clickhouse")
        heir = doomed.start(wait=False)
        heir.wait_ready(90)
        feed.wait_more(300)
        wait_until(lambda: _rows_in(heir) > 300, 60, "the heir's first rows")
        zombie.kill(signal.SIGCONT)
        zombie.wait_ready(90)
        feed.wait_more(600)
        finish(doomed, feed)
    assert alive(zombie, heir)
