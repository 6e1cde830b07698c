"""Datasets and runs: over HTTP, and as the S3 poller sees them."""

import asyncio
import json
from typing import Any

import pytest
from api_helpers import Api, assert_problem
from sqlalchemy import select, text

from api.datasets.polls import SqlPollStore
from api.datasets.source import SqlDatasetSource
from api.db import Database
from api.models import Dataset
from api.sealing import CannotOpen, CredentialBox
from api.tables import OutboxRow
from producers.contracts import DatasetSource, FileState, PollStore, RunState, StoreUnavailable

RULE = {"take_new_if_only": ["STATUS", "NOTES"], "count_both_if_type": ["REVERSAL"]}


async def test_credentials_go_in_and_never_come_out(api: Api) -> None:
    """No answer, outbox row or table holds a credential in plain text; the poller gets it opened."""
    project = await api.project()
    made = await api.dataset(project, schedule="06:30", default_currency="ngn")
    assert made["conflict_rule"] == RULE
    assert (made["default_currency"], made["schedule"], made["state"]) == ("NGN", "06:30", "active")
    assert made["s3"] == {
        "bucket": made["s3"]["bucket"],
        "prefix": "",
        "endpoint_url": None,
        "region": "us-east-1",
    }
    path = f"/v1/datasets/{made['id']}"
    new = {"bucket": "b2", "prefix": "in/", "endpoint_url": "http://s3.test:80", "access_key": "AKEY-2",
           "secret_key": "SKEY-2"}  # fmt: skip
    changed = await api.http.patch(path, json={"s3": new})
    listed = await api.http.get("/v1/datasets")
    for answer in (json.dumps(made), changed.text, listed.text, (await api.http.get(path)).text):
        assert "KEY-" not in answer
    assert changed.json()["s3"]["bucket"] == "b2"

    def stored() -> str:
        with api.running.db.read() as session:
            rows = session.execute(text("SELECT * FROM datasets")).all()
            return str(rows) + str(session.scalars(select(OutboxRow.payload)).all())

    assert "KEY-" not in await asyncio.to_thread(stored)
    source: DatasetSource = SqlDatasetSource(api.running.db, api.running.box)
    assert await asyncio.to_thread(source.active) == [], "the streams cannot know it yet"
    await api.announce()
    (found,) = await asyncio.to_thread(source.active)
    assert (found.location.access_key, found.location.secret_key) == ("AKEY-2", "SKEY-2")
    assert (found.location.bucket, found.location.prefix, found.schedule) == ("b2", "in/", "06:30")
    assert "KEY-" not in repr(found)


async def test_only_active_datasets_are_polled(api: Api) -> None:
    """Paused, archived, and of an archived organisation: all are left out."""
    source = SqlDatasetSource(api.running.db, api.running.box)
    project = await api.project()
    made = [await api.dataset(project) for _ in range(3)]
    await api.http.patch(f"/v1/datasets/{made[0]['id']}", json={"state": "paused"})
    await api.http.delete(f"/v1/datasets/{made[1]['id']}")
    await api.announce()
    assert [dataset.id for dataset in await asyncio.to_thread(source.active)] == [made[2]["id"]]
    answer = await api.http.post(f"/v1/datasets/{made[0]['id']}/run")
    assert_problem(answer, 409, "conflict")
    assert_problem(await api.http.post(f"/v1/datasets/{made[1]['id']}/run"), 409, "archived")
    await api.http.delete(f"/v1/organizations/{project['organization_id']}")
    assert await asyncio.to_thread(source.active) == []


async def test_a_dataset_with_another_key_does_not_hold_up_the_others(api: Api) -> None:
    """Credentials that cannot be opened are that dataset's trouble alone."""
    project = await api.project()
    broken, fine = await api.dataset(project), await api.dataset(project)
    await api.announce()

    def swap() -> list[str]:
        with api.running.db.write() as session:
            rows = {row.id: row for row in session.scalars(select(Dataset))}
            rows[broken["id"]].sealed_credentials = rows[fine["id"]].sealed_credentials
        return [found.id for found in SqlDatasetSource(api.running.db, api.running.box).active()]

    assert await asyncio.to_thread(swap) == [fine["id"]]


def test_credentials_are_bound_to_key_and_owner() -> None:
    """Another key, another owner or a changed text opens nothing."""
    box = CredentialBox(bytes(32))
    sealed = box.seal("ds_1", {"a": "b"})
    assert box.open("ds_1", sealed) == {"a": "b"}
    for other, owner, given in [
        (CredentialBox(b"1" * 32), "ds_1", sealed),
        (box, "ds_2", sealed),
        (box, "ds_1", sealed[:-4] + "AAA="),
        (box, "ds_1", "é"),
    ]:
        with pytest.raises(CannotOpen):
            other.open(owner, given)
    with pytest.raises(ValueError, match="32 bytes"):
        CredentialBox(b"short")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"project_ids": []}, "project_ids"),
        ({"project_ids": ["prj_" + "0" * 26]}, "project_ids"),
        ({"target": "programme"}, "programme_id"),
        ({"source": "ftp"}, "body.source"),
        ({"source": "sheet"}, "body"),
        ({"s3": None}, "body"),
        ({"sheet": {"spreadsheet_id": "1AbCdEfGhIjKlMn"}}, "body"),
        ({"source": "pull", "s3": None, "pull": {"url": "https://example.com/payments", "key": "k"}},
         "body.pull.since"),
        ({"required_fields": ["PHONE"]}, "body.required_fields.0"),
        ({"schedule": "25:00"}, "body.schedule"),
        ({"default_currency": "XXQ"}, "body.default_currency"),
        ({"conflict_rule": {"other": []}}, "body.conflict_rule.other"),
        ({"s3": {"bucket": "b"}}, "body.s3.access_key"),
        ({"s3": {"bucket": "b", "access_key": "a", "secret_key": "b", "endpoint_url": "file:///"}},
         "body.s3.endpoint_url"),
        ({"s3": {"bucket": "b", "access_key": "a", "secret_key": "b", "prefix": "in/Processed"}},
         "body.s3.prefix"),
        ({"s3": {"bucket": "b", "access_key": "a", "secret_key": "b", "prefix": "Error/"}}, "body.s3.prefix"),
    ],
)  # fmt: skip
async def test_datasets_have_rules(api: Api, changes: dict[str, Any], field: str) -> None:
    """What a dataset may not be is a fault of the field that says so."""
    project = await api.project()
    good = {"name": "n", "provider": "p", "source": "s3", "type": "electricity_payments", "target": "project",
            "organization_id": project["organization_id"], "project_ids": [project["id"]],
            "s3": {"bucket": "b", "access_key": "a", "secret_key": "b"}}  # fmt: skip
    answer = await api.http.post("/v1/datasets", json=good | changes)
    assert assert_problem(answer, 422, "invalid")["errors"][0]["field"] == field


async def test_a_null_that_is_no_value_is_named(api: Api) -> None:
    """Each field that cannot be taken away says so; one that can is taken away."""
    dataset = await api.dataset(await api.project())
    path = f"/v1/datasets/{dataset['id']}"
    answer = await api.http.patch(path, json={"schedule": None, "name": None, "default_currency": None})
    told = assert_problem(answer, 422, "invalid")["errors"]
    assert {fault["field"]: fault["code"] for fault in told} == {"body.schedule": "null", "body.name": "null"}
    assert (await api.http.patch(path, json={"default_currency": None})).status_code == 200


async def test_a_run_is_followed_from_request_to_end(api: Api) -> None:
    """The poller takes the run that was asked for; its state, files and reasons show over HTTP."""
    dataset = await api.dataset(await api.project())
    answer = await api.http.post(f"/v1/datasets/{dataset['id']}/run")
    assert answer.status_code == 202
    run = answer.json()
    assert (run["state"], run["received"], run["trigger"]) == ("requested", 0, "demand")
    path, store = f"/v1/runs/{run['id']}", SqlPollStore(api.running.db)
    assert await asyncio.to_thread(store.next_requested, 60) is None, (
        "the streams cannot know the dataset yet"
    )
    await api.announce()

    def work() -> None:
        taken = store.next_requested(60)
        assert taken is not None
        assert (taken.id, taken.dataset_id) == (run["id"], dataset["id"])
        assert store.next_requested(60) is None
        file = store.claim(taken.id, dataset["id"], "s3", "s3://b/x.csv@1")
        store.advance(file.id, FileState.REFUSED, error="bad_header")
        store.advance(file.id, FileState.DELETED, destination="Error/x.csv")

    await asyncio.to_thread(work)
    assert (await api.http.get(path)).json()["state"] == "running"
    await asyncio.to_thread(store.finish, run["id"], RunState.DONE)
    ended = (await api.http.get(path)).json()
    assert ended["state"] == "done"
    assert ended["files"][0].pop("id").startswith("fil_")
    assert ended["files"] == [
        {"source_ref": "s3://b/x.csv@1", "state": "deleted", "received": 0,
         "destination": "Error/x.csv", "error": "bad_header", "detail": None}
    ]  # fmt: skip
    listed = (await api.http.get("/v1/runs", params={"dataset_id": dataset["id"]})).json()
    assert [item["id"] for item in listed["items"]] == [run["id"]]
    assert_problem(await api.http.get("/v1/runs/run_x"), 404, "not_found")


async def test_the_record_of_files_survives_a_crash(api: Api) -> None:
    """Unfinished files are found again and join the next run; finished ones stay as they are."""
    dataset = (await api.dataset(await api.project()))["id"]
    await api.announce()
    store: PollStore = SqlPollStore(api.running.db)

    def work() -> None:
        first = store.start_scheduled(dataset, None, 60)
        assert first is not None
        ref = "s3://b/" + "é" * 1024 + "@1"
        file = store.claim(first.id, dataset, "s3", ref)
        assert (file.state, file.received) == (FileState.CLAIMED, 0)
        store.advance(file.id, FileState.PUBLISHED, received=3, destination="Processed/1")
        store.finish(first.id, RunState.FAILED, "the bucket went away")
        second = store.start_scheduled(dataset, store.polls()[dataset].scheduled_at, 60)
        assert second is not None
        joined = store.claim(second.id, dataset, "s3", ref)
        assert (joined.id, joined.run_id, joined.received) == (file.id, second.id, 3)
        assert joined.claimed_at == file.claimed_at
        assert joined.destination == "Processed/1"
        assert [item.id for item in store.unfinished(dataset)] == [file.id]
        store.advance(file.id, FileState.DELETED)
        assert store.unfinished(dataset) == []
        assert store.claim("run_x", dataset, "s3", ref).run_id == second.id
        assert [store.report_once(dataset, what) for what in ("a", "a", "b")] == [True, False, True]

    await asyncio.to_thread(work)


def test_a_database_that_is_away_is_told_to_the_poller(tmp_path: Any) -> None:
    """The poller hears `StoreUnavailable`, not the driver's errors."""
    db = Database(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    with pytest.raises(StoreUnavailable):
        SqlDatasetSource(db, CredentialBox(bytes(32))).active()


@pytest.mark.parametrize(
    ("source", "place", "shown"),
    [
        ("sheet", {"spreadsheet_id": "1AbCdEfGhIjKlMn", "ranges": ["Jan!A:U"]}, None),
        ("pull", {"url": "https://1.1.1.1/payments", "key": "K-secret", "since": "2024-01-01"},
         {"url": "https://1.1.1.1/payments", "since": "2024-01-01"}),
        ("upload", {"any_file_name": True}, None),
        ("topic", None, None),
    ],
)  # fmt: skip
async def test_datasets_of_every_source(
    api: Api, source: str, place: dict[str, Any] | None, shown: dict[str, Any] | None
) -> None:
    """Each source has its place, told without secrets; another source's place does not fit it."""
    project = await api.project()
    body = {"name": "n", "provider": "p", "source": source, "type": "electricity_payments",
            "target": "project", "organization_id": project["organization_id"],
            "project_ids": [project["id"]], "required_fields": ["LATITUDE"]}  # fmt: skip
    answer = await api.http.post("/v1/datasets", json=body | ({source: place} if place else {}))
    assert answer.status_code == 201, answer.text
    assert "K-secret" not in answer.text
    made = answer.json()
    assert {name: made[name] for name in ("s3", "sheet", "pull", "upload") if made[name] is not None} == (
        {source: shown or place} if place else {}
    )
    assert made["required_fields"] == ["LATITUDE"]
    stray = {"s3": {"bucket": "b", "access_key": "a", "secret_key": "b"}}
    refused = await api.http.patch(f"/v1/datasets/{made['id']}", json=stray)
    assert assert_problem(refused, 422, "invalid")["errors"][0]["field"] == "source"
    if source in ("upload", "topic"):
        run = await api.http.post(f"/v1/datasets/{made['id']}/run")
        assert assert_problem(run, 409, "conflict")
