"""The audit: who did what, found by any of it, and never changed."""

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
from api_helpers import EMAIL, Api, assert_problem
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DatabaseError

import api as api_package
from api.audit import service
from api.audit.endpoints import Acting
from api.audit.service import MAX_SUBJECT, Actor, Deed
from api.tables import AuditEntry, User


def _record(api: Api, actor: Actor, *deeds: Deed) -> None:
    with api.running.db.write() as session:
        service.record(session, actor, deeds)


async def _found(api: Api, **query: Any) -> list[str]:
    answer = await api.http.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return [entry["subject"] for entry in answer.json()["items"]]


async def test_entries_are_found_by_what_is_known_of_them(api: Api) -> None:
    """By who, what, on what, whose, in which request and when; oldest first, page by page."""
    _record(api, Actor("usr_1", "req-1"), Deed("a.open", "row", "t/1", "org_a", {"fields": ["ID"]}))
    _record(api, Actor("usr_2", "req-2"), Deed("a.close", "row", "t/2"), Deed("b.open", "dataset", "ds_1"))
    for query, subjects in (
        ({}, ["t/1", "t/2", "ds_1"]),
        ({"user_id": "usr_2"}, ["t/2", "ds_1"]),
        ({"action": "a.open"}, ["t/1"]),
        ({"subject_kind": "dataset"}, ["ds_1"]),
        ({"subject": "t/2", "subject_kind": "row"}, ["t/2"]),
        ({"organization_id": "org_a"}, ["t/1"]),
        ({"request_id": "req-2"}, ["t/2", "ds_1"]),
        ({"from": "2020-01-01T00:00:00Z", "to": "2021-01-01"}, []),
        ({"from": "2020-01-01T00:00:00Z"}, ["t/1", "t/2", "ds_1"]),
    ):
        assert await _found(api, **query) == subjects, query
    first = (await api.http.get("/v1/audit", params={"limit": 2})).json()
    rest = (await api.http.get("/v1/audit", params={"cursor": first["next"]})).json()
    assert [entry["subject"] for entry in first["items"] + rest["items"]] == ["t/1", "t/2", "ds_1"]
    assert rest["next"] is None
    entry = first["items"][0]
    assert (entry["user_id"], entry["details"], entry["at"][-1]) == ("usr_1", {"fields": ["ID"]}, "Z")


async def test_an_entry_names_the_admin_and_the_request(api: Api) -> None:
    """What an endpoint notes carries the caller's id and the X-Request-ID of the answer."""
    with api.running.db.read() as session:
        user = session.scalars(select(User).where(User.email == EMAIL)).one()

    @api.app.post("/noted")
    def noted(actor: Acting) -> None:
        _record(api, actor, Deed("x.y", "row", "1"))

    answer = await api.http.post("/noted", headers={"X-Request-ID": "given-by-me"})
    assert answer.status_code == 200, answer.text
    (entry,) = (await api.http.get("/v1/audit")).json()["items"]
    assert (entry["user_id"], entry["request_id"]) == (user.id, "given-by-me")


async def test_entries_cannot_be_changed(api: Api) -> None:
    """The database itself refuses, whatever program asks."""
    _record(api, Actor("usr_1", "r"), Deed("a.b", "row", "1"))
    for statement in (update(AuditEntry).values(user_id="usr_2"), delete(AuditEntry)):
        with pytest.raises(DatabaseError, match="append-only"), api.running.db.write() as session:
            session.execute(statement)
    assert await _found(api, user_id="usr_1") == ["1"]


async def test_an_entry_is_in_the_transaction_of_its_deed(api: Api) -> None:
    """A deed that is rolled back leaves no entry."""

    def fail() -> None:
        with api.running.db.write() as session:
            service.record(session, Actor("usr_1", "r"), [Deed("a.b", "row", "1")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert await _found(api) == []


async def test_a_subject_that_does_not_fit_is_an_error(api: Api) -> None:
    """It is not cut: a cut name is another one."""
    with pytest.raises(ValueError, match=str(MAX_SUBJECT)):
        _record(api, Actor("usr_1", "r"), Deed("a.b", "row", "x" * (MAX_SUBJECT + 1)))


async def test_only_admins_read_it(api: Api) -> None:
    """No token, no audit; bad filters are named."""
    assert_problem(await api.http.get("/v1/audit", headers={"Authorization": ""}), 401, "unauthorized")
    assert_problem(await api.http.get("/v1/audit?from=yesterday"), 422, "invalid")
    assert_problem(await api.http.get("/v1/audit?cursor=x"), 400, "bad_cursor")


UNAUDITED = {
    "log_in": "changes nothing",
    "dry_run_dataset": "changes nothing",
    "post_payments": "no admin; the rows have outcomes, and a receipt",
    "post_reads": "no admin; the rows have outcomes",
}


def test_every_endpoint_that_changes_something_knows_who_acts() -> None:
    """A new one either notes what is done, or says here why not."""
    names = [found.name for found in pkgutil.walk_packages(api_package.__path__, "api.")]
    routers = [importlib.import_module(name).router for name in names if name.endswith(".endpoints")]
    changing = [
        route.endpoint
        for router in routers
        for route in router.routes
        if route.methods & {"POST", "PUT", "PATCH", "DELETE"}
    ]
    without = {
        endpoint.__name__ for endpoint in changing if "actor" not in inspect.signature(endpoint).parameters
    }
    assert without == set(UNAUDITED)
    assert len(changing) > 25


async def _acts(api: Api, **query: Any) -> list[tuple[str, str, dict[str, Any]]]:
    answer = await api.http.get("/v1/audit", params=query)
    return [(item["action"], item["subject"], item["details"]) for item in answer.json()["items"]]


async def test_changes_of_the_registry_are_in_the_audit(api: Api) -> None:
    """Made, changed, archived, restored: by names of fields, and only what really differs."""
    project = await api.project()
    owner, device = project["organization_id"], await api.device(project_id=project["id"])
    made = await api.connection("c-1", project["id"], customer_external_id="+4915112345678")
    path = f"/v1/connections/{made['id']}"
    for body in ({"valid_from": "2024-01-01T00:00:00Z", "external_id": "c-2"}, {"external_id": "c-2"}):
        assert (await api.http.patch(path, json=body)).status_code == 200
    for _ in range(2):
        assert (await api.http.delete(path)).status_code == 204
    assert (await api.http.patch(path, json={"archived": False})).status_code == 200
    assert await _acts(api, organization_id=owner) == [
        ("organization.create", owner, {}),
        ("project.create", project["id"], {}),
        ("device.create", device["id"], {}),
        ("connection.create", made["id"], {}),
        ("connection.change", made["id"], {"fields": ["external_id", "valid_from"]}),
        ("connection.archive", made["id"], {}),
        ("connection.restore", made["id"], {}),
    ]


async def test_tokens_are_in_the_audit_by_their_ids(api: Api) -> None:
    """Issued, revoked once, and revoked with what they belong to."""
    device = await api.device()
    first, second = await api.device_token(device["id"]), await api.device_token(device["id"])
    for _ in range(2):
        gone = await api.http.delete(f"/v1/devices/{device['id']}/tokens/{first['jti']}")
        assert gone.status_code == 204
    assert (await api.http.delete(f"/v1/devices/{device['id']}")).status_code == 204
    acts = await _acts(api, subject_kind="token", organization_id=device["organization_id"])
    of = {"device": device["id"]}
    assert acts == [
        ("token.issue", first["jti"], of), ("token.issue", second["jti"], of),
        ("token.revoke", first["jti"], of), ("token.revoke", second["jti"], of),
    ]  # fmt: skip


async def test_what_is_done_with_a_dataset_is_in_the_audit(api: Api) -> None:
    """Paused and resumed with the reason, changed, moved to another place, run; keys are named, not told."""
    dataset = await api.dataset(await api.project())
    path = f"/v1/datasets/{dataset['id']}"
    why = "the supplier changes its file on Monday"
    paused = (await api.http.patch(path, json={"state": "paused", "reason": why})).json()
    assert (paused["state"], paused["state_detail"]) == ("paused", why)
    for body in (
        {"state": "active"}, {"schedule": "daily", "name": "New"},
        {"s3": {"bucket": "other", "access_key": "AKEY-2", "secret_key": "SKEY-2"}},
    ):  # fmt: skip
        assert (await api.http.patch(path, json=body)).status_code == 200
    run = (await api.http.post(f"{path}/run")).json()
    acts = await _acts(api, subject_kind="dataset", subject=dataset["id"])
    assert [(action, details) for action, _, details in acts] == [
        ("dataset.create", {}), ("dataset.pause", {"reason": why}), ("dataset.resume", {}),
        ("dataset.change", {"fields": ["name"]}),
        ("dataset.relocate", {"fields": ["bucket", "credentials"]}),
        ("dataset.run", {"run_id": run["id"]}),
    ]  # fmt: skip
    refused = await api.http.patch(path, json={"state": "paused", "reason": "call +49 151 12345678"})
    assert_problem(refused, 422, "invalid")
