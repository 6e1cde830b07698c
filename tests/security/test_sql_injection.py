"""No text of a request or a row changes a statement: every parameter of every endpoint, and every column."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from api_helpers import Api

from sinks import queries, receipts
from tests.conftest import ClickHouse
from tests.security.hostile import TEXTS, VERBS, Shape, cursors, paths_of_texts, with_text
from tests.support.workers import Sender, WorkerProcess, payment, wait_until

CANARY = "canary-of-another-table"
CURSORS = {"cursor", "next", "after"}
Request = tuple[str, str, dict[str, str], Any]
"""Verb, path, query and body."""


@pytest.fixture
def sentinel(clickhouse: ClickHouse) -> ClickHouse:
    """A table that no statement of ours names, and a ledger row that no hostile text stands for."""
    clickhouse.client.command("CREATE TABLE sentinel (a String) ENGINE = MergeTree ORDER BY a")
    clickhouse.client.command("INSERT INTO sentinel SELECT {a:String}", parameters={"a": CANARY})
    clickhouse.client.command(
        "INSERT INTO ledger_rows (organization_id, record_type, record_id, topic, outcome)"
        " SELECT 'org_x', 'payment', {a:String}, 'payments', 'accepted'",
        parameters={"a": CANARY},
    )
    return clickhouse


def _untouched(store: ClickHouse) -> None:
    assert store.rows("SELECT a FROM sentinel") == [(CANARY,)]
    assert store.value("SELECT count() FROM ledger_rows") == 1


def _requests(document: dict[str, Any]) -> Iterator[Request]:
    """Every text parameter of every operation with every hostile text, the others harmless."""
    shape = Shape(document)
    for path, operations in document["paths"].items():
        for verb in VERBS:
            if verb in operations:
                yield from _of_operation(shape, verb, path, operations[verb])


def _of_operation(shape: Shape, verb: str, path: str, operation: dict[str, Any]) -> Iterator[Request]:
    parameters = [p for p in operation.get("parameters", []) if p["in"] in ("path", "query")]
    query = {
        p["name"]: str(shape.filled(p["schema"]))
        for p in parameters
        if p["in"] == "query" and p.get("required")
    }
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    body = shape.filled(schema) if schema is not None else None
    for text in TEXTS:
        for one in parameters:
            if not shape.is_text(one["schema"]):
                continue
            if one["in"] == "path":
                yield verb, _path(path, one["name"], text), query, body
                continue
            values = [*cursors(text)] if one["name"] in CURSORS else [text]
            for value in values:
                # a cursor alone is refused where a filter is required: give it one
                extra = {"record_id": "x"} if "ledger" in path and one["name"] in CURSORS else {}
                yield verb, _path(path), {**query, **extra, one["name"]: value}, body
    for number, place in enumerate(paths_of_texts(body)):
        # bodies go to SQL through SQLAlchemy and to ClickHouse as columns: a few texts each, all in all
        for text in (TEXTS * 2)[number * 3 % len(TEXTS) :][:3]:
            yield verb, _path(path), query, with_text(body, place, text)


def _path(template: str, name: str = "", text: str = "") -> str:
    """The path with its parameters filled in, one of them hostile."""
    parts = [
        quote(text if part == f"{{{name}}}" else "x", safe="") if part.startswith("{") else part
        for part in template.split("/")
    ]
    return "/".join(parts)


@pytest.mark.timeout(280)
async def test_hostile_texts_in_every_parameter_change_nothing(whole_api: Api, sentinel: ClickHouse) -> None:
    """Whatever the OpenAPI document lets a client send: never a 500, never rows that were not asked for."""
    document = whole_api.app.openapi()
    asked, operations, slow = 0, set(), []
    device = await whole_api.device()
    token = (await whole_api.device_token(device["id"]))["token"]
    for verb, path, query, body in _requests(document):
        headers = {"Authorization": f"Bearer {token}"} if path.startswith("/meter-reads/") else {}
        answer: httpx.Response = await whole_api.http.request(
            verb.upper(), path, params=query, json=body, headers=headers
        )
        asked += 1
        operations.add((verb, "/".join(path.split("/")[:3])))
        # Login is limited, and ClickHouse answers all that it is asked: 503 would be a refused statement.
        assert answer.status_code < 500, (verb, path, query, body, answer.text)
        assert CANARY not in answer.text, (verb, path, query, body)
        if answer.elapsed.total_seconds() > 3:
            slow.append((verb, path, query))
        shown = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        if "ledger" in path and answer.status_code == 200 and "items" in shown:
            assert shown["items"] == [], (query, shown)
    assert asked > 500
    assert len(operations) > 15
    assert slow == []
    _untouched(sentinel)


def test_hostile_texts_are_values_of_the_stores_questions(sentinel: ClickHouse) -> None:
    """Each question that takes texts finds what has exactly this text, and nothing else."""
    for text in TEXTS:
        _asked_for(sentinel, text)
        assert sentinel.rows("SELECT a FROM sentinel") == [(CANARY,)], text


def _asked_for(sentinel: ClickHouse, text: str) -> None:
    """Store a row that is known by this text, and ask for it in every way."""
    sentinel.client.command(
        "INSERT INTO ledger_rows (organization_id, record_type, record_id, dataset_id, source_ref, topic,"
        " position, outcome, line) SELECT {t:String}, 'payment', {t:String}, {t:String}, {t:String},"
        " {t:String}, 7, 'accepted', 1",
        parameters={"t": text},
    )
    for name in ("organization_id", "record_id", "dataset_id", "source_ref", "topic"):
        found = queries.ledger(sentinel.client, {name: text})
        assert [row[name] for row in found] == [text]
    assert len(queries.ledger(sentinel.client, {"organization_ids": [text, "'"]})) == 1
    assert queries.ledger(sentinel.client, {"record_id": text}, after=(text, 7)) == []
    assert len(queries.ledger(sentinel.client, {"record_id": text}, after=(text, 6))) == 1
    assert queries.outcome_counts(sentinel.client, text, text, [text])["accepted"] == 1
    assert receipts.tallies(sentinel.client, [receipts.Key(text, text, text)]).popitem()[1].judged == 1
    assert receipts.requests(sentinel.client, text, ".*", text, text, text, 9) == []
    assert not receipts.detours(sentinel.client, text, datetime.now(UTC)).lost
    assert queries.verification(sentinel.client, text, text) is None


def test_hostile_rows_are_stored_as_they_are(
    sentinel: ClickHouse, endpoints: Any, kafka_prefix: str, tmp_path: Path
) -> None:
    """Every column and every header a sender may fill: each row has its outcome, its text is only a text."""
    sender = Sender(endpoints.kafka, kafka_prefix)
    worker = WorkerProcess(tmp_path, endpoints.kafka, kafka_prefix, sentinel.url, sentinel.database)
    try:
        organization = sender.organization()
        sender.device(organization, TEXTS[0])
        rows = [
            payment(number, **{"ID": f"{number} {text}", "METER_ID": text, "CUSTOMER_ID": text,
                               "REFERENCE_ID": text, "EXTERNAL_ID": text, "PAYMENT_SOURCE": text,
                               "STATUS": text, text: text})
            for number, text in enumerate(TEXTS)
        ]  # fmt: skip
        sender.payments(rows, organization)
        sender.payments(rows[:1], organization, source_ref=TEXTS[4], source=TEXTS[4], line="1")
        sender.payments([payment(99)], TEXTS[3], dataset_id=TEXTS[4])
        total = len(rows) + 2
        wait_until(
            lambda: (
                sentinel.value("SELECT count() FROM ledger WHERE record_id != {c:String}", c=CANARY) == total
            ),
            120,
            "an outcome for each",
        )
        stored = sentinel.rows("SELECT id, meter_id FROM payment_versions ORDER BY position")
        assert {tuple(row) for row in stored} == {(row["ID"], row["METER_ID"]) for row in rows}
        for row in rows:
            found = queries.ledger(sentinel.client, {"record_id": row["ID"]})
            assert {one["record_id"] for one in found} == {row["ID"]}
        assert sentinel.rows("SELECT a FROM sentinel") == [(CANARY,)]
        assert worker.stop() == 0
    finally:
        worker.kill()
        worker.child.wait(30)
        sender.close()


def test_the_document_is_covered() -> None:
    """The generator reaches texts in paths, queries, cursors and nested bodies."""
    document = {
        "components": {"schemas": {"In": {"type": "object", "properties": {
            "a": {"type": "string"},
            "b": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Deep"}]},
        }}, "Deep": {"type": "object", "properties": {"c": {"type": "array", "items": {"type": "string"}}}}}},
        "paths": {"/v1/{id}/x": {"post": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                           {"name": "cursor", "in": "query", "schema": {"type": "string"}}],
            "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/In"}}}},
        }}},
    }  # fmt: skip
    found = list(_requests(document))
    text = TEXTS[0]
    assert ("post", f"/v1/{quote(text, safe='')}/x", {}, {"a": "text", "b": {"c": ["text"]}}) in found
    assert ("post", "/v1/x/x", {}, {"a": text, "b": {"c": ["text"]}}) in found
    assert any(body["b"]["c"][0] in TEXTS for _, _, _, body in found)
    assert any(query.get("cursor") == next(cursors(text)) for _, _, query, _ in found)
