"""The store's disk is full for a while: nothing is lost, and work goes on by itself when there is room."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sunledger.embedded.layout import Layout
from sunledger.embedded.stack import Stack
from tests.faults.feed import DEVICES, Feed
from tests.faults.test_faults_away import finish
from tests.faults.world import World, alive
from tests.support.workers import wait_until

DISK = "400m"
BLOCK = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system for the store's data; skips where none may be mounted."""
    place = Layout.at(tmp_path / "data").part("clickhouse")
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk cannot be made here: there is no mount")
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * BLOCK):
                pass
        except OSError:
            return ballast
    raise AssertionError("the disk has no end")


def test_a_full_disk_delays_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    """Inserts fail for as long as there is no room; the rows wait in the topic and are stored once."""
    with (
        Stack(tmp_path / "data", parts=("kafka", "clickhouse")) as stack,
        closing(World(stack.endpoints, tmp_path)) as world,
    ):
        worker = world.start()
        organization = world.sender.organization()
        for device in DEVICES:
            world.sender.device(organization, device)
        with Feed(stack.endpoints.kafka, world.prefix, organization, seed=9, a_second=600) as feed:
            feed.wait_more(300)
            wait_until(lambda: world.books.value("SELECT count() FROM payments") > 0, 60, "payments stored")
            ballast = _fill(small_disk)
            wait_until(lambda: "store_retry" in world.logs(), 60, "an insert without room")
            feed.wait_more(1000)
            assert alive(worker), worker.child.tail(20)
            ballast.unlink()
            finish(world, feed)
        assert alive(worker), worker.child.tail(20)
