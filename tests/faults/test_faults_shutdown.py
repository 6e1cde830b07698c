"""How a worker ends on SIGTERM, and what the next one finds."""

import time

from tests.faults.feed import DEVICES, Feed
from tests.faults.world import World
from tests.support.workers import WorkerProcess

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
