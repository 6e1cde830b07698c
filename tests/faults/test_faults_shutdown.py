"""How a worker ends: cleanly on SIGTERM, with exit code 1 on a failure, and what the next one finds."""

import time

from confluent_kafka.admin import AdminClient

from producers.topics import create_topics
from tests.faults.feed import DEVICES, Feed
from tests.faults.world import World
from tests.support.workers import WorkerProcess, payment

FEW_S = 20.0
"""`A few seconds`, on a machine that is busy with something else."""


def _stopped_in(worker: WorkerProcess) -> float:
    began = time.monotonic()
    code = worker.stop(60)
    assert code == 0, worker.child.tail(20)
    return time.monotonic() - began


def _log(worker: WorkerProcess) -> str:
    return worker.log.read_text(errors="replace")


def test_idle_and_loaded_workers_end_cleanly(world: World) -> None:
    """SIGTERM ends a worker within seconds with exit code 0, idle or loaded; the next one does not wait."""
    assert _stopped_in(world.start()) < FEW_S
    organization = world.sender.organization()
    for device in DEVICES:
        world.sender.device(organization, device)
    # longer than the deadline below: a worker that waited for a former owner's inserts would miss it
    loaded = world.start(insert_limit_s=60, rebalance_timeout_s=60)
    with Feed(world.endpoints.kafka, world.prefix, organization, seed=6, a_second=2000) as feed:
        feed.wait_more(4000)
        took = _stopped_in(loaded)
        print(f"loaded worker stopped in {took:.1f} s")
        assert took < FEW_S
        heir = world.start(insert_limit_s=60, rebalance_timeout_s=60)
        feed.wait_more(1000)
        feed.finish()
    world.wait_drained(["payments", "reads"])
    for topic in ("payments", "reads"):
        world.books.check(topic)
    assert world.books.outcomes() == dict(feed.expected())
    assert "waiting_for_former_owner" not in _log(heir)
    # in good order means: nothing was fetched and judged again
    assert "sunledger_replayed_total" not in heir.metrics() or not _replayed(heir)
    heir.kill()
    heir.child.wait(30)
    assert "waiting_for_former_owner" in _log(_restarted_after_kill(world))


def _replayed(worker: WorkerProcess) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in worker.metrics().splitlines()
        if line.startswith("sunledger_replayed_total{")
    )


def _restarted_after_kill(world: World) -> WorkerProcess:
    worker = world.start(insert_limit_s=1)
    assert worker.child.poll() is None
    return worker


def test_a_failure_ends_with_one_and_a_restart_goes_on(world: World) -> None:
    """A topic made anew under a worker ends it with exit code 1; a restarted one judges the new rows."""
    organization = world.sender.organization()
    worker = world.start()
    world.sender.payments([payment(number) for number in range(20)], organization)
    world.wait_drained(["payments"])
    admin = AdminClient({"bootstrap.servers": world.endpoints.kafka, "log_level": 0})
    name = f"{world.prefix}payments"
    admin.delete_topics([name])[name].result(30)
    create_topics(world.endpoints.kafka, world.prefix)
    assert worker.child.wait(60) == 1, worker.child.tail(20)
    # whoever sees it first: the look at the topics' ids, or the seek of a rebalance
    assert any(name in _log(worker) for name in ("TopicRecreated", "OffsetsWentBack"))
    world.given_up.append(worker)
    # the group's offsets are the old topic's; an operator who made the topic anew drops them
    _forget_offsets(world, admin)
    world.start()
    world.sender.payments([payment(number) for number in range(10, 30)], organization)
    world.wait_drained(["payments"])
    assert world.books.outcomes() == {"accepted": 30, "duplicate": 10}


def _forget_offsets(world: World, admin: AdminClient) -> None:
    group = f"{world.prefix}sunledger"
    admin.delete_consumer_groups([group])[group].result(30)
