"""What became of rows, runs and connections, asked from ClickHouse."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from api_helpers import Api, assert_problem

from api.datasets.polls import SqlPollStore
from producers.contracts import FileState, RunState
from schemas.identity import position


def _row(offset: int, **changes: Any) -> dict[str, Any]:
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    row = {
        "topic": "payments", "position": position(0, 1, offset), "organization_id": "org_a",
        "record_type": "payment", "record_id": f"P{offset}", "identity": 2**63 + offset,
        "content_hash": 2**64 - 1, "outcome": "accepted", "reasons": [], "dataset_id": "", "source": "s3",
        "source_ref": "f@1", "line": offset + 1, "partition": 1, "offset": offset, "received_at": moment,
        "stored_at": moment, "replay_of": None, "matched_connection_id": "",
    }  # fmt: skip
    return row | changes


def _insert(clickhouse: Any, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    clickhouse.client.insert("ledger_rows", [[row[name] for name in names] for row in rows], names)


async def test_rows_are_found_by_id_lineage_and_position(whole_api: Api, clickhouse: Any) -> None:
    """Any row is found by its id, its file and line, or its place in the topic, with its outcome."""
    bad = {"outcome": "quarantined", "reasons": ["missing:METER_ID"], "organization_id": "org_b"}
    rows = [_row(0), _row(1, **bad), _row(2, source_ref="g@1", line=1)]
    await asyncio.to_thread(_insert, clickhouse, rows)
    for query, offsets in {
        "record_id=P1": [1],
        "organization_id=org_a": [0, 2],
        "source_ref=f%401&line=2": [1],
        "topic=payments&partition=1&offset=2": [2],
        "outcome=quarantined": [1],
        "record_id=P1&organization_id=org_a": [],
    }.items():
        answer = (await whole_api.http.get(f"/v1/ledger?{query}")).json()
        assert [item["offset"] for item in answer["items"]] == offsets, query
    found = (await whole_api.http.get("/v1/ledger?record_id=P1")).json()["items"][0]
    assert found["reasons"] == ["missing:METER_ID"]
    assert found["content_hash"] == str(2**64 - 1)
    assert found["received_at"] == "2024-05-01T00:00:00.000Z"


async def test_the_ledger_is_paged(whole_api: Api, clickhouse: Any) -> None:
    """Following `next` shows every row once; a foreign cursor and a missing filter are refused."""
    await asyncio.to_thread(_insert, clickhouse, [_row(n) for n in range(5)])
    seen: list[int] = []
    params: dict[str, Any] = {"organization_id": "org_a", "limit": 2}
    while True:
        page = (await whole_api.http.get("/v1/ledger", params=params)).json()
        seen += [item["offset"] for item in page["items"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == [0, 1, 2, 3, 4]
    for cursor in ("x", "bm8", "WzFd", "W10", "WyJ0IiwtMV0"):
        answer = await whole_api.http.get("/v1/ledger", params={"record_id": "P1", "cursor": cursor})
        assert_problem(answer, 400, "bad_cursor")
    assert_problem(await whole_api.http.get("/v1/ledger"), 422, "invalid")


async def test_a_run_is_done_when_every_row_has_its_outcome(whole_api: Api, clickhouse: Any) -> None:
    """Published is not done: the run says `storing` until received equals the sum of the outcomes."""
    api = whole_api
    project = await api.project()
    dataset, owner = (await api.dataset(project))["id"], project["organization_id"]
    await api.announce()
    run = (await api.http.post(f"/v1/datasets/{dataset}/run")).json()["id"]
    store = SqlPollStore(api.running.db)

    def publish() -> None:
        taken = store.next_requested(60)
        assert taken is not None
        file = store.claim(run, dataset, "s3", "f@1")
        store.advance(file.id, FileState.PUBLISHED, received=4)
        store.finish(run, RunState.DONE)

    await asyncio.to_thread(publish)
    outcomes = ["accepted", "duplicate", "conflict", "quarantined"]
    mine = {"dataset_id": dataset, "organization_id": owner}
    rows = [_row(n, **mine, outcome=outcome) for n, outcome in enumerate(outcomes)]
    forged = _row(7, dataset_id=dataset, organization_id="org_b", outcome="quarantined")
    await asyncio.to_thread(_insert, clickhouse, [forged])
    await asyncio.to_thread(_insert, clickhouse, rows[:3])
    found = (await api.http.get(f"/v1/runs/{run}")).json()
    assert (found["state"], found["received"], found["accepted"], found["quarantined"]) == (
        "storing",
        4,
        1,
        0,
    )
    # The same line once more is a redelivery, not a received row.
    await asyncio.to_thread(_insert, clickhouse, [rows[3], _row(9, **mine, line=1)])
    found = (await api.http.get(f"/v1/runs/{run}")).json()
    assert found["state"] == "done"
    assert [found[outcome] for outcome in outcomes] == [1, 1, 1, 1]


async def test_a_connection_without_evidence_is_not_verified(whole_api: Api) -> None:
    """Registered a moment ago: the answer is there, and says no; an unknown connection is a 404."""
    made = await whole_api.connection("c", (await whole_api.project())["id"])
    answer = (await whole_api.http.get(f"/v1/connections/{made['id']}/verification")).json()
    assert (answer["verified"], answer["payments"], answer["totals"], answer["energy_wh"]) == (
        False,
        0,
        {},
        "0",
    )
    assert (answer["connection_id"], answer["external_id"]) == (made["id"], "c")
    assert_problem(await whole_api.http.get("/v1/connections/con_x/verification"), 404, "not_found")


@pytest.mark.parametrize("path", ["/v1/ledger?record_id=x", "/v1/connections/{id}/verification"])
async def test_clickhouse_away_is_a_503(api: Api, path: str) -> None:
    """Without ClickHouse the questions about outcomes are 503; the registry goes on."""
    made = await api.connection("c", (await api.project())["id"])
    answer = await api.http.get(path.format(id=made["id"]))
    assert_problem(answer, 503, "store_away")
    assert int(answer.headers["retry-after"]) > 0
