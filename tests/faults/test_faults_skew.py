"""More partitions than workers, some of them never used: nobody waits for what is idle."""

from collections.abc import Iterator
from itertools import count

from schemas.identity import partition_of, payment_key
from tests.faults.conftest import MakeWorld
from tests.faults.world import World, alive
from tests.support.workers import WorkerProcess, payment, wait_until

PARTITIONS = 8
TOPICS = ("payments", "reads")


def _rows_of(organization: str, partitions: set[int], rows: int) -> Iterator[dict[str, object]]:
    """Payments whose home is in one of these partitions."""
    found = 0
    for number in count():
        if partition_of(payment_key(organization, "", f"P{number}"), PARTITIONS) in partitions:
            yield payment(number)
            found += 1
        if found == rows:
            return


def _assigned(world: World, workers: list[WorkerProcess]) -> bool:
    return alive(*workers) and all(worker.ready() for worker in workers)


def test_idle_partitions_and_a_joining_worker(make_world: MakeWorld) -> None:
    """Three workers with an idle partition each, then a fourth: every partition goes on, all have some."""
    world = make_world(payment_partitions=PARTITIONS)
    organization = world.sender.organization()
    workers = [world.start(wait=False, insert_limit_s=1) for _ in range(3)]
    wait_until(lambda: _assigned(world, workers), 90, "three workers ready")
    shares = world.shares("payments")
    assert sorted(map(len, shares)) == [2, 3, 3]
    idle = {share[-1] for share in shares}
    rows = list(_rows_of(organization, set(range(PARTITIONS)) - idle, 600))
    world.sender.payments(rows[:300], organization)
    world.wait_drained(TOPICS)
    assert world.books.outcomes() == {"accepted": 300}

    workers.append(world.start(wait=False, insert_limit_s=1))
    wait_until(lambda: len(world.shares("payments")) == 4, 90, "four shares")
    assert [len(share) for share in world.shares("payments")] == [2, 2, 2, 2]
    world.sender.payments(rows[300:], organization)
    world.wait_drained(TOPICS)
    # only now do the idle ones, handed over untouched, get their first rows
    everywhere = list(_rows_of(organization, idle, 100))
    world.sender.payments(everywhere, organization)
    world.wait_drained(TOPICS)
    for topic in TOPICS:
        world.books.check(topic)
    assert world.books.outcomes() == {"accepted": 700}
    assert world.books.value("SELECT count() FROM payments") == 700
    assert _assigned(world, workers)


def test_a_worker_too_many_is_ready_and_steps_in(world: World) -> None:
    """A worker without any partition is ready, and takes over when the others leave."""
    organization = world.sender.organization()
    workers = [world.start(wait=False, insert_limit_s=1) for _ in range(5)]
    wait_until(lambda: _assigned(world, workers), 120, "five workers ready, one of them without partitions")
    world.sender.payments([payment(number) for number in range(100)], organization)
    world.wait_drained(TOPICS)
    for worker in workers[:4]:
        worker.kill()
    world.sender.payments([payment(number) for number in range(50, 150)], organization)
    world.wait_drained(TOPICS)
    world.books.check("payments")
    assert world.books.outcomes() == {"accepted": 150, "duplicate": 50}
    assert alive(workers[4])
