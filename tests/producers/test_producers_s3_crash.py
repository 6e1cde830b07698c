"""The poller dies at every one of its steps: nothing is lost, the file ends in its place exactly once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from s3_world import NAME, Death, Fate, FatedBuckets, World, sample

from producers import tabular
from producers.contracts import FileState, RunState
from sunledger.embedded.stack import Endpoints

ROWS = 13
AT_ONCE = 5
"""Three batches of rows."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are several batches."""
    monkeypatch.setattr(tabular, "ROWS_AT_ONCE", AT_ONCE)


def check(world: World, folder: str, rows: int) -> None:
    """What must hold after recovery, wherever the death was."""
    names = world.keys()
    moved = [name for name in names if not name.endswith(".errors.csv")]
    assert len(moved) == 1, names
    assert moved[0].startswith(folder)
    (file,) = world.store.files
    assert file.state is FileState.DELETED
    assert file.destination == world.prefix + moved[0]
    seen = {record.where for record in world.seen()}
    assert seen == {(file.source_ref, line) for line in range(2, rows + 2)}


@pytest.mark.parametrize(
    ("folder", "data", "rows"),
    [("Processed/", sample(ROWS), ROWS), ("Error/", b"wrong,header\n1,2\n", 0)],
    ids=["good file", "refused file"],
)
def test_death_at_every_step(
    world: World, monkeypatch: pytest.MonkeyPatch, folder: str, data: bytes, rows: int
) -> None:
    """Dying before or after any call to the store or the bucket, or between rows, harms nothing."""
    at, ended = 0, None
    while ended is not RunState.DONE:
        at += 1
        world.begin(f"{folder.lower()}{at}/")
        world.put(data)
        ended = run_until_death(world, Fate(at), monkeypatch)
        world.store.expire()
        world.poller().poll()
        check(world, folder, rows)
        if folder == "Error/":
            assert len(world.keys("Error/")) == 2
    assert at > 20


def run_until_death(world: World, fate: Fate, monkeypatch: pytest.MonkeyPatch) -> RunState | None:
    """Serve a run under a fate; None if it died."""
    with monkeypatch.context() as patch:
        FatedBuckets(patch, fate)
        try:
            return world.run(fate)[0]
        except Death:
            return None
        finally:
            world.lose_publishers()


@pytest.mark.parametrize(("first", "second"), [(9, 7), (15, 5), (20, 9), (26, 3), (30, 11)])
def test_two_deaths_in_a_row(world: World, monkeypatch: pytest.MonkeyPatch, first: int, second: int) -> None:
    """Dying again during recovery harms nothing either."""
    world.put(sample(ROWS))
    for at in (first, second):
        assert run_until_death(world, Fate(at), monkeypatch) is None
        world.store.expire()
    world.poller().poll()
    check(world, "Processed/", ROWS)


@pytest.mark.parametrize("step", ["after of", "after copy"])
def test_kill_9(endpoints: Endpoints, kafka_prefix: str, bucket: str, tmp_path: Path, step: str) -> None:
    """A process killed between rows, or between copy and delete, leaves what can be gone on with."""
    path = tmp_path / "store"
    world = World(endpoints.s3, endpoints.kafka, kafka_prefix, bucket, path)
    world.put(sample(ROWS))
    world.store.request("ds_1")
    environment = {
        **os.environ,
        "WORLD_S3": f"{endpoints.s3.url} {endpoints.s3.access_key} {endpoints.s3.secret_key}",
        "WORLD": f"{endpoints.kafka} {kafka_prefix} {bucket} {path} {world.prefix}",
        "WORLD_STEP": step,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("dying_poller.py"))],
        env=environment,
        timeout=60,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    world.close()
    again = World(endpoints.s3, endpoints.kafka, kafka_prefix, bucket, path, world.prefix)
    assert again.store.files[0].state in (FileState.CLAIMED, FileState.PUBLISHED)
    assert NAME in list(again.keys())
    again.store.expire()
    again.poller().poll()
    check(again, "Processed/", ROWS)
    again.close()
