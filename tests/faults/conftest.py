"""Installations for tests of faults: in the shared stack, or in one whose parts may be killed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sunledger.embedded.stack import Endpoints, Stack
from tests.faults.world import World

MakeWorld = Callable[..., World]


@pytest.fixture(scope="package")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker and a store of these tests' own: they kill them, and start them again."""
    with Stack(tmp_path_factory.mktemp("own-stack"), parts=("kafka", "clickhouse")) as started:
        yield started


@pytest.fixture
def doomed(own_stack: Stack, tmp_path: Path) -> Iterator[World]:
    """An installation in the stack whose parts may be killed."""
    own_stack.start()  # what an earlier test left dead
    made = World(own_stack.endpoints, tmp_path)
    yield made
    made.close()


@pytest.fixture
def make_world(endpoints: Endpoints, tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes installations in the shared stack."""
    made: list[World] = []

    def make(**options: int) -> World:
        made.append(World(endpoints, tmp_path, **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """An installation in the shared stack."""
    return make_world()
