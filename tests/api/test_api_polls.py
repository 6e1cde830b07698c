"""The record of runs as pollers share it: one at a time holds a dataset, and writes only while it does.

The store in memory that other tests use is held to the same.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from api import ids
from api.datasets.polls import SqlPollStore
from api.datasets.runs import SqlRunStore
from api.db import Database
from api.models import Dataset, Organization
from api.outbox import queue
from api.tables import DatasetPoll, OutboxRow, Run
from producers.contracts import FileState, LeaseLost, PollStore, RunState, StoreUnavailable
from tests.producers.memory_store import MemoryRunStore
from tests.support.workers import wait_until

LONG = 60.0


@dataclass
class Shared:
    """A record that several pollers share."""

    datasets: list[str]
    poller: Callable[[], PollStore]
    request: Callable[[str], str]
    state: Callable[[str], RunState]


@pytest.fixture
def db(sql_url: str) -> Iterator[Database]:
    """The registry's database."""
    made = Database(sql_url)
    yield made
    made.close()


def registered(db: Database, count: int) -> list[str]:
    """Datasets that the streams know."""
    organization = Organization(id=ids.new_id("org"), name="Solar Ltd")
    with db.write() as session:
        session.add(organization)
        session.flush()
        made = [
            Dataset(
                id=ids.new_id("ds"), organization_id=organization.id, name="n", provider="p", source="s3",
                type="electricity_payments", target="project", project_ids=[], conflict_rule={},
                schedule="daily", state="active", location={}, sealed_credentials="",
            )
            for _ in range(count)
        ]  # fmt: skip
        session.add_all(made)
    return [dataset.id for dataset in made]


def in_sql(db: Database) -> Shared:
    """Over SQLite."""

    def request(dataset_id: str) -> str:
        run_id = ids.new_id("run")
        with db.write() as session:
            session.add(Run(id=run_id, dataset_id=dataset_id, trigger="demand", state="requested"))
        return run_id

    def state(run_id: str) -> RunState:
        with db.read() as session:
            return RunState(session.scalars(select(Run.state).where(Run.id == run_id)).one())

    return Shared(registered(db, 2), lambda: SqlPollStore(db), request, state)


def in_memory() -> Shared:
    """Without a database."""
    first = MemoryRunStore()
    return Shared(["ds_1", "ds_2"], first.beside, first.request, lambda run_id: first.run_state(run_id)[0])


@pytest.fixture(params=["sql", "memory"])
def shared(request: pytest.FixtureRequest, db: Database) -> Shared:
    """Both kinds of it."""
    return in_sql(db) if request.param == "sql" else in_memory()


def test_two_pollers_never_have_one_dataset(shared: Shared) -> None:
    """Runs of a dataset that is held are left alone; those of another one are taken."""
    first, second = shared.datasets
    one, other = shared.poller(), shared.poller()
    runs = [shared.request(dataset_id) for dataset_id in (first, first, second)]
    taken = one.next_requested(LONG)
    assert taken is not None
    assert (taken.id, taken.dataset_id, taken.failures) == (runs[0], first, 0)
    beside = other.next_requested(LONG)
    assert beside is not None
    assert beside.id == runs[2]
    assert other.next_requested(LONG) is None
    assert one.next_requested(LONG) is None, "nor does the holder begin a second run meanwhile"
    one.finish(taken.id, RunState.DONE)
    again = other.next_requested(LONG)
    assert again is not None
    assert again.id == runs[1]


def test_the_run_of_a_dead_poller_is_taken_over(shared: Shared) -> None:
    """When the lease has ended another poller goes on with the run; the dead one records nothing any more."""
    dataset = shared.datasets[0]
    dead, alive = shared.poller(), shared.poller()
    run_id = shared.request(dataset)
    run = dead.next_requested(LONG)
    assert run is not None
    file = dead.claim(run.id, dataset, "s3", "s3://b/x.csv@1")
    assert alive.next_requested(LONG) is None
    assert dead.renew(dataset, 0.01)
    taken: list[str] = []

    def take() -> bool:
        found = alive.next_requested(LONG)
        if found:
            taken.append(found.id)
        return bool(taken)

    wait_until(take, 60, "the run of the dead poller")
    assert taken == [run_id]
    assert alive.claim(run_id, dataset, "s3", "s3://b/x.csv@1").id == file.id
    assert not dead.renew(dataset, LONG)
    for write in (
        lambda: dead.claim(run.id, dataset, "s3", "s3://b/y.csv@1"),
        lambda: dead.advance(file.id, FileState.REPLACED),
        lambda: dead.finish(run.id, RunState.DONE),
    ):
        with pytest.raises(LeaseLost):
            write()
    dead.give_back(run)
    assert shared.state(run_id) is RunState.RUNNING
    assert [(known.id, known.state) for known in alive.unfinished(dataset)] == [(file.id, FileState.CLAIMED)]
    alive.finish(run_id, RunState.DONE)
    assert shared.state(run_id) is RunState.DONE


def test_a_renewed_lease_is_not_taken(shared: Shared) -> None:
    """A run that lasts longer than a lease is left to its poller as long as that renews."""
    one, other = shared.poller(), shared.poller()
    shared.request(shared.datasets[0])
    assert one.next_requested(0.01) is not None
    assert one.renew(shared.datasets[0], LONG), "even late, as long as nobody took it"
    assert other.next_requested(LONG) is None


def test_a_poller_that_ends_gives_its_run_back(shared: Shared) -> None:
    """Nobody has to wait for the end of the lease."""
    one, other = shared.poller(), shared.poller()
    run_id = shared.request(shared.datasets[0])
    run = one.next_requested(LONG)
    assert run is not None
    one.give_back(run)
    assert shared.state(run_id) is RunState.REQUESTED
    again = other.next_requested(LONG)
    assert again is not None
    assert again.id == run_id


def test_one_scheduled_run_for_each_time(shared: Shared) -> None:
    """Of pollers that saw the same dataset due, one begins its run, even if it ends before the next looks."""
    dataset = shared.datasets[0]
    one, other = shared.poller(), shared.poller()
    run = one.start_scheduled(dataset, None, LONG)
    assert run is not None
    begun = one.polls()[dataset]
    assert begun.held
    assert other.start_scheduled(dataset, begun.scheduled_at, LONG) is None, "it is held"
    one.finish(run.id, RunState.DONE)
    assert other.start_scheduled(dataset, None, LONG) is None, "it began since"
    assert not other.polls()[dataset].held
    assert other.start_scheduled(dataset, begun.scheduled_at, LONG) is not None


def test_a_run_that_is_asked_for_comes_first(shared: Shared) -> None:
    """Who asks for a run finds the waiting files in it, not in a scheduled one that began at that moment."""
    poller = shared.poller()
    shared.request(shared.datasets[0])
    assert poller.start_scheduled(shared.datasets[0], None, LONG) is None
    run = poller.next_requested(LONG)
    assert run is not None
    poller.finish(run.id, RunState.DONE)
    assert poller.start_scheduled(shared.datasets[0], None, LONG) is not None


def test_failures_in_a_row_are_counted(shared: Shared) -> None:
    """Each failed run counts, whoever served it; one that does not fail ends the row."""
    dataset = shared.datasets[0]
    ends = [RunState.FAILED, RunState.FAILED, RunState.FAILED, RunState.DONE, RunState.FAILED]
    for before, end in zip([0, 1, 2, 3, 0], ends, strict=True):
        poller = shared.poller()
        shared.request(dataset)
        run = poller.next_requested(LONG)
        assert run is not None
        assert run.failures == before
        poller.finish(run.id, end, "why")
        known = shared.poller().polls()[dataset]
        assert known.failures == (before + 1 if end is RunState.FAILED else 0)
        assert (known.failed_at is not None) is (end is RunState.FAILED)
        assert not known.held


def test_many_pollers_take_many_runs_once_each(db: Database) -> None:
    """Pollers that ask at the same time get different runs, and no run is left over."""
    datasets = registered(db, 12)
    shared = in_sql(db)
    expected = sorted(shared.request(dataset) for dataset in datasets)

    def take_all(store: PollStore) -> list[str]:
        taken = []
        while run := store.next_requested(LONG):
            taken.append(run.id)
        return taken

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(take_all, [SqlPollStore(db) for _ in range(4)]))
    assert sorted(run_id for taken in found for run_id in taken) == expected


def test_runs_that_are_no_poller_s(db: Database) -> None:
    """An upload's run is nobody's to take, and a dataset the streams cannot know yet waits for the relay."""
    dataset, unknown = registered(db, 2)
    with db.write() as session:
        session.add(Run(id=ids.new_id("run"), dataset_id=dataset, trigger="upload", state="running"))
        session.add(Run(id=ids.new_id("run"), dataset_id=unknown, trigger="demand", state="requested"))
        queue(session, session.scalars(select(Dataset).where(Dataset.id == unknown)).one())
    store = SqlPollStore(db)
    assert store.next_requested(LONG) is None
    with db.write() as session:
        for row in session.scalars(select(OutboxRow)):
            row.state = "sent"
    run = store.next_requested(LONG)
    assert run is not None
    assert run.dataset_id == unknown


def test_other_channels_write_without_a_lease(db: Database) -> None:
    """What no poller deals with is not fenced."""
    (dataset,) = registered(db, 1)
    run_id = ids.new_id("run")
    with db.write() as session:
        session.add(Run(id=run_id, dataset_id=dataset, trigger="upload", state="running"))
    store = SqlRunStore(db)
    file = store.claim(run_id, dataset, "upload", "upload://1")
    assert store.advance(file.id, FileState.DONE, received=1).state is FileState.DONE
    store.finish(run_id, RunState.DONE)
    with db.read() as session:
        assert session.scalars(select(DatasetPoll)).all() == []


def test_a_database_that_is_away(tmp_path: Path) -> None:
    """Every call says so in the pollers' words."""
    db = Database(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    store = SqlPollStore(db)
    for call in (
        store.polls,
        lambda: store.next_requested(LONG),
        lambda: store.start_scheduled("ds_1", None, LONG),
        lambda: store.renew("ds_1", LONG),
        lambda: store.finish("run_1", RunState.DONE),
    ):
        with pytest.raises(StoreUnavailable):
            call()
    db.close()
