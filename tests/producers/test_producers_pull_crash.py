"""The poller dies at every one of its steps: no payment is lost, every window is read, receipts add up."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pull_world import PullWorld
from s3_world import Death, Fate

from producers import pull_rows
from producers.contracts import FINISHED_FILE_STATES, FileState, RunState
from producers.pull_windows import reading_of
from sunledger.embedded.stack import Endpoints

IDS = {"0", "1", "2", "3", "8"}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are several batches."""
    monkeypatch.setattr(pull_rows, "ROWS_AT_ONCE", 3)


@pytest.fixture
def world(endpoints: Endpoints, kafka_prefix: str) -> Iterator[PullWorld]:
    """A day with four payments, and one with one that is not over."""
    made = PullWorld(endpoints.kafka, kafka_prefix)
    made.clock = datetime(2024, 5, 2, 12, 0, tzinfo=UTC)
    for number in range(4):
        made.api.add(number, f"2024-05-01T08:00:0{number}Z")
    made.api.add(8, "2024-05-02T08:00:00Z")
    yield made
    made.close()


def check(world: PullWorld, ids: set[str]) -> None:
    """What must hold after recovery, wherever the death was."""
    files = world.store.files
    assert {file.state for file in files} <= FINISHED_FILE_STATES
    assert set(world.ids()) == ids
    done = [file for file in files if file.state is FileState.DONE]
    readings = [reading_of(file.source_ref) for file in done]
    days = [reading.window.start.date() for reading in readings if reading]
    assert set(days) == {date(2024, 5, day) for day in (1, 2)}
    lines: dict[str, dict[int, str]] = {}
    for record in world.seen():
        source, line = record.where
        kept = lines.setdefault(source, {}).setdefault(line, record.value["ID"])
        assert kept == record.value["ID"], "a line stands for one row, however often it was published"
    for file in done:
        assert sorted(lines.get(file.source_ref, {})) == list(range(1, file.received + 1))


def run_until_death(world: PullWorld, fate: Fate) -> RunState | None:
    """Serve a run under a fate; None if it died."""
    try:
        return world.run(fate)[0]
    except Death:
        return None
    finally:
        world.lose_publishers()


def later(world: PullWorld) -> None:
    """Time passes before somebody starts it again."""
    world.clock += timedelta(minutes=10)


def one_more(world: PullWorld) -> None:
    """A late payment comes in meanwhile, before others: the answer is another one."""
    later(world)
    world.api.add(10, "2024-05-01T08:00:00Z")
    world.api._payments.insert(0, world.api._payments.pop())


@pytest.mark.parametrize(
    ("meanwhile", "stride"), [(later, 2), (one_more, 4)], ids=["same answer", "another answer"]
)
def test_death_at_every_step(world: PullWorld, meanwhile: Callable[[PullWorld], None], stride: int) -> None:
    """Dying between any two calls to the store, or between rows, harms nothing.

    Boundaries are before and after each call, and nothing happens between one call's end and the next
    one's beginning: every second boundary is every state.
    """
    at, ended = 0, None
    payments, clock = list(world.api._payments), world.clock
    while ended is not RunState.DONE:
        at += stride
        world.clock = clock
        world.api._payments[:] = payments
        world.begin_pull()
        ended = run_until_death(world, Fate(at))
        meanwhile(world)
        world.store.expire()
        world.store.request(world.dataset.id)
        world.poller().poll()
        check(world, IDS | ({"10"} if meanwhile is one_more else set()))
    assert at > 15


@pytest.mark.parametrize(("first", "second"), [(6, 5), (11, 8)])
def test_two_deaths_in_a_row(world: PullWorld, first: int, second: int) -> None:
    """Dying again during recovery harms nothing either."""
    for at in (first, second):
        assert run_until_death(world, Fate(at)) is None
        world.store.expire()
        later(world)
    world.poller().poll()
    check(world, IDS)


@pytest.mark.parametrize(("step", "times"), [("after of", 2), ("before advance", 1)])
def test_kill_9(world: PullWorld, kafka_prefix: str, tmp_path: Path, step: str, times: int) -> None:
    """A process killed between rows, or before a window is recorded, leaves what can be gone on with."""
    path, name = tmp_path / "store", world.dataset.id
    world.begin_pull(name, path)
    world.store.request(name)
    environment = {
        **os.environ,
        "WORLD": f"{world.kafka} {kafka_prefix} {world.url} {path} {name} {world.clock.isoformat()}",
        "WORLD_STEP": step,
        "WORLD_TIMES": str(times),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    child = [sys.executable, str(Path(__file__).with_name("dying_puller.py"))]
    ended = subprocess.run(child, env=environment, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    world.begin_pull(name, path)
    (left,) = world.store.unfinished(name)
    assert left.state is FileState.CLAIMED
    world.store.expire()
    later(world)
    world.poller().poll()
    check(world, IDS)
    assert next(file for file in world.store.files if file.id == left.id).state is FileState.DONE
