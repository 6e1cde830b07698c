"""GET /v1/connections/{id}/verification?as_known_at=…: what was known at a moment."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from api_helpers import Api, assert_problem

from sinks import client as clickhouse_client
from sinks.tables import SCHEMAS, batch_of_rows
from sinks.writer import Writer
from tests.conftest import ClickHouse

REGISTERED: dict[str, Any] = {"number": 1, "archived": False, "changed_at": datetime(2026, 1, 1, tzinfo=UTC)}


def _store(clickhouse: ClickHouse, table: str, **row: Any) -> None:
    factory = clickhouse_client.factory(clickhouse.url, database=clickhouse.database)
    writer = Writer(factory, clickhouse.database)
    empty = {f.name: "" for f in SCHEMAS[table] if str(f.type) == "string" and not f.nullable}
    writer.insert(table, batch_of_rows(table, [{**empty, **row}]))
    writer.close()


def _moment(clickhouse: ClickHouse) -> datetime:
    """The server's clock, when what follows is stored later and the API's clock has passed it."""
    at = clickhouse.value("SELECT now64(3, 'UTC')")
    assert isinstance(at, datetime)
    while clickhouse.value("SELECT now64(3, 'UTC')") <= at or datetime.now(UTC) <= at:  # type: ignore[operator]
        pass
    return at


async def test_the_answer_for_a_past_moment_stays(whole_api: Api, clickhouse: ClickHouse) -> None:
    """Before it was known, known, paid for, renamed and archived: each moment keeps its answer."""
    project = await whole_api.project()
    made = await whole_api.connection("M1", project["id"])
    whose = {"organization_id": project["organization_id"]}
    connection = {**REGISTERED, **whose, "id": made["id"], "project_id": project["id"], "external_id": "M1"}
    payment = {
        **whose, "id": "P1", "timestamp": datetime(2026, 3, 1, tzinfo=UTC), "payment_amount": 10,
        "payment_currency": "NGN", "meter_id": "M1", "identity": 1, "content_hash": 1, "position": 1,
        "outcome": "accepted", "topic": "payments",
    }  # fmt: skip
    changes: list[tuple[str, dict[str, Any]]] = [
        ("connection_versions", {**connection, "version": 1}),
        ("payment_versions", payment),
        ("connection_versions", {**connection, "version": 2, "external_id": "M2"}),
        ("connection_versions", {**connection, "version": 3, "external_id": "M1", "archived": True}),
    ]
    moments = [await asyncio.to_thread(_moment, clickhouse)]
    for table, row in changes:
        await asyncio.to_thread(lambda t=table, r=row: _store(clickhouse, t, **r))
        moments.append(await asyncio.to_thread(_moment, clickhouse))
    found = []
    for moment in moments:
        at = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        answer = await whole_api.http.get(f"/v1/connections/{made['id']}/verification?as_known_at={at}")
        body = answer.json()
        assert body["as_known_at"] == at, body
        found.append((body["external_id"], body["verified"], body["payments"], body["totals"]))
    assert found == [
        ("", False, 0, {}),
        ("M1", False, 0, {}),
        ("M1", True, 1, {"NGN": "10"}),
        ("M2", False, 0, {}),
        ("M1", False, 0, {}),
    ]
    now = (await whole_api.http.get(f"/v1/connections/{made['id']}/verification")).json()
    assert (now["as_known_at"], now["verified"]) == (None, False)


async def test_moments_that_make_no_sense_are_refused(whole_api: Api) -> None:
    """The future could still change; what is no moment is named as such; an unknown connection is a 404."""
    made = await whole_api.connection("M1", (await whole_api.project())["id"])
    path = f"/v1/connections/{made['id']}/verification"
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    problem = assert_problem(await whole_api.http.get(f"{path}?as_known_at={future}"), 422, "invalid")
    assert (problem["errors"][0]["field"], problem["errors"][0]["code"]) == ("as_known_at", "in_future")
    assert "lies in the future; expected a moment up to now" in problem["errors"][0]["detail"]
    for wrong in ("yesterday", "2026-13-01", "1700-01-01T00:00:00Z"):
        assert_problem(await whole_api.http.get(f"{path}?as_known_at={wrong}"), 422, "invalid")
    assert (await whole_api.http.get(f"{path}?as_known_at=2026-01-01")).status_code == 200
    unknown = "/v1/connections/con_x/verification?as_known_at=2026-01-01"
    assert_problem(await whole_api.http.get(unknown), 404, "not_found")
