"""Several pollers over one bucket: each file once, and nobody waits for somebody else's store."""

import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from s3_world import NAME, Fate, FatedBuckets, World, sample

from producers import tabular
from producers.contracts import FileState, LeaseLost, Run, RunState
from producers.poller import Poller
from producers.pollers import Pollers
from tests.support.workers import wait_until

ROWS = 3


def in_thread(pollers: Pollers) -> threading.Thread:
    """They run by themselves."""
    thread = threading.Thread(target=pollers.run, daemon=True)
    thread.start()
    return thread


def another(world: World) -> Poller:
    """One more poller over the same record."""
    mine, world.store = world.store, world.store.beside()
    try:
        return world.poller()
    finally:
        world.store = mine


def test_a_silent_store_does_not_hold_up_the_others(world: World) -> None:
    """While one dataset's store takes connections and never answers, another dataset is served."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hanging = replace(world.dataset, id="ds_hangs", location=replace(world.location, endpoint_url=url))
        world.datasets.datasets.append(hanging)
        stuck = world.store.request("ds_hangs")
        pollers = Pollers([world.poller(), another(world)], quiet_s=0.2)
        thread = in_thread(pollers)
        wait_until(lambda: world.store.run_state(stuck)[0] is RunState.RUNNING, 60, "the run that hangs")
        for day in range(3):
            world.put(sample(2, first=10 * day))
            run_id = world.store.request(world.dataset.id)
            wait_until(lambda run_id=run_id: world.store.run_state(run_id)[0] is RunState.DONE, 60, "a run")
        assert world.store.run_state(stuck)[0] is RunState.RUNNING
        wait_until(lambda: "a source holds up poller" in str(pollers.why_not_ready()), 60, "the complaint")
        pollers.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert len(world.keys("Processed/")) == 3
    assert world.store.run_state(stuck)[0] is RunState.REQUESTED, "given back to the next process"


def test_pollers_that_move_are_ready(world: World) -> None:
    """Idle ones count as moving; how long ago is a metric of each."""
    pollers = Pollers([world.poller(), another(world)], quiet_s=60)
    thread = in_thread(pollers)
    began = time.time()

    def moved(poller: str) -> float:
        labels = {"poller": poller}
        return REGISTRY.get_sample_value("sunledger_poller_moved_timestamp_seconds", labels) or 0

    wait_until(lambda: min(moved("1"), moved("2")) > began + 0.2, 60, "signs of life")
    assert pollers.why_not_ready() is None
    pollers.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_a_poller_that_fails_ends_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poller that ends by itself is told by the end of `run`: the process then ends, and starts anew."""
    failing = world.poller()
    monkeypatch.setattr(failing, "poll", lambda: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", lambda _given: None)
    thread = in_thread(Pollers([failing, another(world)]))
    thread.join(60)
    assert not thread.is_alive()


def test_datasets_share_a_bucket(world: World) -> None:
    """Each takes what is directly under its own prefix, even if that lies within another's prefix."""
    inner = f"{world.prefix}inner/"
    both = [world.dataset, replace(world.dataset, id="ds_2", location=replace(world.location, prefix=inner))]
    world.datasets.datasets = both
    world.put(sample(2))
    world.put(sample(3, first=50), f"inner/{NAME}")
    world.put(sample(1), "inner/deep/" + NAME)
    for dataset in both:
        world.store.request(dataset.id)
    world.poller().poll()
    of = {file.dataset_id: file for file in world.store.files}
    assert {name: file.received for name, file in of.items()} == {"ds_1": 2, "ds_2": 3}
    assert str(of["ds_1"].destination).startswith(f"{world.prefix}Processed/")
    assert str(of["ds_2"].destination).startswith(f"{inner}Processed/")
    assert f"inner/deep/{NAME}" in list(world.keys())
    assert {record.headers["dataset_id"] for record in world.seen()} == {"ds_1", "ds_2"}


def test_a_dataset_taken_over_at_every_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever another poller takes the dataset over, the first one does no harm with what it does next.

    The first one does not notice that its lease ended: what holds is the record alone.
    """
    monkeypatch.setattr(tabular, "ROWS_AT_ONCE", 2)
    at, reached = 0, True
    while reached:
        at += 1
        world.begin(f"taken{at}/")
        world.put(sample(ROWS))
        run_id = world.store.request(world.dataset.id)
        reached = serve_and_take_over(world, at, monkeypatch)
        names = world.keys()
        assert len(names) == 1, (at, names)
        assert names[0].startswith("Processed/")
        assert world.body(names[0]) == sample(ROWS)
        (file,) = world.store.files
        assert (file.state, file.received, file.destination) == (
            FileState.DELETED,
            ROWS,
            world.prefix + names[0],
        ), at
        assert world.store.run_state(run_id)[0] is RunState.DONE, at
        wheres = {(file.source_ref, line) for line in range(2, ROWS + 2)}
        assert {record.where for record in world.seen()} == wheres
    assert at > 12


def serve_and_take_over(world: World, at: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Serve the run; at one boundary another poller serves it whole meanwhile. Whether it was reached."""
    fate, reached, second = Fate(), [], another(world)

    def tick(name: str) -> None:
        if name.startswith("before "):  # what is after one step is before the next
            fate.steps.append(name)
        if len(fate.steps) == at and not reached:
            reached.append(name)
            with monkeypatch.context() as patch:
                patch.setattr(fate, "tick", lambda _name: None)
                world.store.expire()
                second.poll()

    fate.tick = tick  # type: ignore[method-assign]
    with monkeypatch.context() as patch:
        FatedBuckets(patch, fate)
        world.poller(fate).poll()
    return bool(reached)


@pytest.mark.parametrize("step", ["before open", "before copy", "before delete"])
def test_who_lost_the_lease_touches_nothing(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The next request to the bucket is not made; the run is left to the other poller."""
    world.put(sample(ROWS))
    run_id = world.store.request(world.dataset.id)
    thief, fate, asked = world.store.beside(), Fate(), []

    def tick(name: str) -> None:
        asked.append(name)
        if name == step:
            world.store.expire()
            assert thief.next_requested(60) is not None
            time.sleep(0.3)  # as a stopped process: longer than its lease lasts

    fate.tick = tick  # type: ignore[method-assign]
    with monkeypatch.context() as patch:
        FatedBuckets(patch, fate)
        world.poller(fate, lease_s=0.2).poll()
    assert world.store.run_state(run_id) == (RunState.RUNNING, None)
    before = {"before open": 0, "before copy": 0, "before delete": 1}[step]
    assert NAME in list(world.keys())
    assert len(world.keys("Processed/")) == before
    assert len(world.seen()) == (0 if step == "before open" else ROWS)
    with pytest.raises(LeaseLost):
        world.store.finish(run_id, RunState.DONE)
    thief.give_back(Run(run_id, world.dataset.id))
    another(world).poll()
    assert world.keys() == world.keys("Processed/")
    assert len(world.keys()) == 1


def test_a_failing_dataset_is_tried_again_later(world: World) -> None:
    """After a failure it is not begun at once, but when its pause is over; the count is a metric."""
    ahead = timedelta(0)
    good, labels = world.dataset, {"dataset_id": world.dataset.id}
    lost = replace(world.location, bucket="no-such-bucket")
    world.datasets.datasets = [replace(good, schedule="daily", location=lost)]
    world.put(sample(1))
    poller = world.poller(schedule_s=0, now=lambda: datetime.now(UTC) + ahead)
    assert [poller.poll() for _ in range(3)] == [1, 0, 0]
    assert REGISTRY.get_sample_value("sunledger_dataset_failures", labels) == 1
    ahead = timedelta(minutes=1)
    assert [poller.poll(), poller.poll()] == [1, 0]
    assert REGISTRY.get_sample_value("sunledger_dataset_failures", labels) == 2
    world.datasets.datasets = [replace(good, schedule="daily")]
    assert poller.poll() == 0, "the pause is longer now"
    ahead = timedelta(minutes=3)
    assert poller.poll() == 1
    assert len(world.keys("Processed/")) == 1
    assert poller.poll() == 0
    assert REGISTRY.get_sample_value("sunledger_dataset_failures", labels) is None
