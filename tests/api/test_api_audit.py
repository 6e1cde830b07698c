"""The audit: who did what, found by any of it, and never changed."""

from typing import Any

import pytest
from api_helpers import EMAIL, Api, assert_problem
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DatabaseError

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
