"""A pull API from the dataset over HTTP to the topic, with the record of windows in SQL."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_helpers import Api, MakeApi, assert_problem

from api.datasets import repository
from api.datasets.polls import SqlPollStore
from api.datasets.schemas import RunFileOut, RunSummary
from api.datasets.source import SqlDatasetSource
from api.parts import ApiParts
from producers.addresses import Hosts
from producers.contracts import FileState, RunState
from producers.poller import Poller
from producers.publisher import Publisher
from producers.rows import RowRecords
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS
from sunledger.embedded.stack import Endpoints
from tests.producers.pull_double import KEY, PullDouble

LOCAL = Hosts(["127.0.0.1"])


@pytest.fixture
def double() -> Iterator[PullDouble]:
    """A CRM."""
    made = PullDouble()
    yield made
    made.close()


@pytest.fixture
async def pull_api(make_api: MakeApi, brokered: ApiParts) -> Api:
    """An application that may connect to the double, the admin logged in."""
    made = await make_api(brokered, settings=replace(brokered.settings, source_hosts=LOCAL))
    await made.log_in()
    return made


Poll = Callable[[], None]


@pytest.fixture
def present() -> datetime:
    """What the poller takes for the present, however late the test is."""
    return datetime.now(UTC)


@pytest.fixture
def poll(
    present: datetime, pull_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> Poll:
    """Everything that a poller does at once."""
    running = pull_api.running
    secret = b"0123456789abcdef0123456789abcdef"
    rows = RowRecords(PAYMENTS.full_name(kafka_prefix), Pseudonymizer(secret), Sealer(secret))
    source, store = SqlDatasetSource(running.db, running.box), SqlPollStore(running.db)
    poller = Poller(source, store, publisher, rows, lambda: 0, hosts=LOCAL, now=lambda: present)
    return lambda: (poller.poll(), None)[1]


async def test_a_dataset_is_pulled_and_goes_on_where_it_was(
    pull_api: Api, double: PullDouble, poll: Poll, present: datetime
) -> None:
    """Runs show their windows; the next run asks for the days that SQL does not know as settled."""
    today = present.date()
    since = today - timedelta(days=6)
    double.add(1, f"{since}T08:00:00Z")
    double.add(2, f"{today - timedelta(days=1)}T08:00:00Z")
    place = {"url": double.url, "key": KEY, "since": since.isoformat()}
    made = await pull_api.dataset(await pull_api.project(), source="pull", s3=None, pull=place)
    assert made["pull"] == {"url": double.url, "since": since.isoformat()}
    await pull_api.announce()
    first = await _run(pull_api, made["id"], poll)
    assert first["detail"].startswith(f"asked for {since}T00:00:00Z to {today}T")
    windows = [file["source_ref"] for file in first["files"]]
    assert len(windows) == 7
    assert [file["received"] for file in first["files"]] == [1, 0, 0, 0, 0, 1, 0]
    assert {file["state"] for file in first["files"]} == {"done"}
    assert all(f"/{made['id']}/" in ref and KEY not in ref for ref in windows)
    double.asked.clear()
    await _run(pull_api, made["id"], poll)
    days = [str(since + timedelta(days=day)) for day in range(7)]
    assert set(days[4:]) <= set(double.days()) <= set(days[2:]), "claimed late enough, a day is settled"


async def test_a_run_that_failed_says_where_and_why(
    pull_api: Api, double: PullDouble, poll: Poll, present: datetime
) -> None:
    """The reason names the window and holds no key; with another key the next run goes on."""
    yesterday = present.date() - timedelta(days=1)
    place = {"url": double.url, "key": "K-wrong-secret", "since": yesterday.isoformat()}
    made = await pull_api.dataset(await pull_api.project(), source="pull", s3=None, pull=place)
    await pull_api.announce()
    failed = await _run(pull_api, made["id"], poll, "failed")
    assert f"window {yesterday}T00:00:00Z" in failed["detail"]
    assert "does not take the key: it answers 401" in failed["detail"]
    assert "K-wrong" not in str(failed)
    path = f"/v1/datasets/{made['id']}"
    assert (await pull_api.http.patch(path, json={"pull": {**place, "key": KEY}})).status_code == 200
    assert len((await _run(pull_api, made["id"], poll))["files"]) == 2


async def test_a_place_inside_is_refused_when_it_is_set(make_api: MakeApi, brokered: ApiParts) -> None:
    """An address that the poller would never connect to is a fault of the field."""
    api = await make_api(brokered)
    await api.log_in()
    project = await api.project()
    body = {"name": "n", "provider": "p", "source": "pull", "type": "electricity_payments",
            "target": "project", "organization_id": project["organization_id"],
            "project_ids": [project["id"]],
            "pull": {"url": "http://169.254.169.254/x", "key": "k", "since": "2024-01-01"}}  # fmt: skip
    answer = await api.http.post("/v1/datasets", json=body)
    assert assert_problem(answer, 422, "invalid")["errors"][0]["field"] == "pull.url"


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"key": "K secret"}, "pull.key", "Found a space, a tab or a line end, expected printable ASCII"),
        ({"key": "Ksecret\n"}, "pull.key", "Found a space, a tab or a line end"),
        ({"key": "Ksecret\x07"}, "pull.key", "Found a control character"),
        ({"key": "Ks\u00e9cret"}, "pull.key", "Found a character that is not ASCII"),
        ({"since": "2299-12-31"}, "pull.since", "Found 2299-12-31, a day to come; expected 20"),
    ],
)
async def test_what_would_fail_in_every_run_is_refused_when_it_is_set(
    pull_api: Api, change: dict[str, str], field: str, said: str
) -> None:
    """A key that no header takes, a day to come: a fault of the field, the key not repeated, kept nowhere."""
    project = await pull_api.project()
    good = {"url": "https://1.1.1.1/x", "key": KEY, "since": str(datetime.now(UTC).date())}
    made = await pull_api.dataset(project, source="pull", s3=None, pull=good)
    shown = {name: made[name] for name in ("provider", "type", "organization_id", "target", "project_ids")}
    body = {**shown, "name": "another", "source": "pull", "pull": {**good, **change}}
    for answer in (
        await pull_api.http.post("/v1/datasets", json=body),
        await pull_api.http.patch(f"/v1/datasets/{made['id']}", json={"pull": body["pull"]}),
    ):
        (fault,) = assert_problem(answer, 422, "invalid")["errors"]
        assert (fault["field"].removeprefix("body."), fault["detail"][: len(said)]) == (field, said)
        assert "ecret" not in answer.text
    assert len((await pull_api.http.get("/v1/datasets")).json()["items"]) == 1


async def test_only_what_was_taken_in_counts(pull_api: Api) -> None:
    """Windows that were refused, replaced or left unfinished, and files of other channels, are not taken."""
    dataset = (await pull_api.dataset(await pull_api.project()))["id"]
    await pull_api.announce()
    store = SqlPollStore(pull_api.running.db)

    def work() -> None:
        run = store.start_scheduled(dataset, None, 60)
        assert run is not None
        ends: list[tuple[str, str, FileState, str | None]] = [
            ("pull", "pull://h/1", FileState.DONE, None),
            ("pull", "pull://h/2", FileState.DONE, "source_error"),
            ("pull", "pull://h/3", FileState.REPLACED, None),
            ("pull", "pull://h/4", FileState.CLAIMED, None),
            ("sheet", "sheet://5", FileState.DONE, None),
        ]
        claimed = {}
        for source, ref, state, error in ends:
            file = store.claim(run.id, dataset, source, ref)
            store.advance(file.id, state, error=error)
            claimed[ref] = file.claimed_at
        assert store.taken(dataset, "pull") == [("pull://h/1", claimed["pull://h/1"])]
        assert claimed["pull://h/1"].tzinfo is not None
        assert store.taken("ds_other", "pull") == []
        store.finish(run.id, RunState.DONE)

    await asyncio.to_thread(work)


async def _run(api: Api, dataset_id: str, poll: Poll, state: str = "done") -> dict[str, Any]:
    """Ask for a run, let a poller do it, and tell how it ended."""
    asked = await api.http.post(f"/v1/datasets/{dataset_id}/run")
    assert asked.status_code == 202, asked.text
    await asyncio.to_thread(poll)
    with api.running.db.read() as session:
        run = repository.run(session, asked.json()["id"])
        windows = repository.files(session, run.id)
        files = [RunFileOut.model_validate(file, from_attributes=True) for file in windows]
        found = RunSummary.model_validate(run).model_dump() | {"files": [file.model_dump() for file in files]}
    assert found["state"] == state, found
    return found
