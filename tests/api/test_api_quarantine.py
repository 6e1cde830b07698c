"""The quarantine over HTTP: found, counted, exported, opened, corrected, replayed once, discarded."""

import asyncio
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from api_helpers import SECRET, Api, MakeApi, assert_problem, record_headers, topic_records
from confluent_kafka import Message
from refused import (
    NAME,
    ORG,
    PAYMENT,
    PHONE,
    PSEUDONYMIZER,
    SEALER,
    WHEN,
    Quarantine,
    audited,
    from_file,
    post,
    state,
)
from sqlalchemy import select, update

from api.db import now_ms
from api.parts import ApiParts
from api.quarantine.drafts import MAX_UNCHANGED_REPLAYS
from api.tables import QuarantineClaim
from producers.publisher import BrokerUnavailable, Group, Publisher, Record
from schemas.identity import partition_of, payment_key, read_key
from schemas.origins import OriginSigner
from schemas.personal import Sealer
from sinks.quarantine_actions import CLAIM_S
from sunledger.embedded.stack import Endpoints

SIGNER = OriginSigner(SECRET)
READ = {"device_external_id": "D1", "type": "Delta", "start": 1, "end": 2, "value": "x", "unit": "kWh"}


@pytest.fixture
def quarantine(clickhouse: Any, kafka_prefix: str) -> Quarantine:
    """The test's quarantine, empty."""
    return Quarantine(clickhouse, kafka_prefix)


def published(endpoints: Endpoints, path: str) -> list[Message]:
    """Everything that was published to the row's topic."""
    return topic_records(endpoints.kafka, path.split("/")[-2])


def position(path: str) -> int:
    """The position in the address of a row."""
    return int(path.rpartition("/")[2])


async def positions(api: Api, **query: Any) -> list[int]:
    """Positions of the rows that filters let pass."""
    answer = await api.http.get("/v1/quarantine", params=query)
    assert answer.status_code == 200, answer.text
    return [int(item["position"]) for item in answer.json()["items"]]


def claims(api: Api) -> int:
    """How many claims there are."""
    with api.running.db.read() as session:
        return len(session.scalars(select(QuarantineClaim)).all())


def age_claims(api: Api) -> None:
    """Make every claim as old as one whose claimant must be dead."""
    long_ago = now_ms() - timedelta(seconds=2 * CLAIM_S)
    with api.running.db.write() as session:
        session.execute(update(QuarantineClaim).values(claimed_at=long_ago))


# -- looking


async def test_rows_are_found_by_every_filter(whole_api: Api, quarantine: Quarantine) -> None:
    """Reason with or without its field, dataset, organisation, type, file, state and day of reception."""
    first = quarantine.put(reasons=["missing:ID", "bad_phone:CUSTOMER_PHONE"], record_id="P-7", line=70_001)
    second = quarantine.put(dataset_id="ds_b", source_ref="g@2", received_at=WHEN + timedelta(days=1))
    third = quarantine.put(organization_id="org_b", record_type="read", received_at=WHEN + timedelta(days=2))
    quarantine.judge(second)
    one, two, three = (position(path) for path in (first, second, third))
    wanted: list[tuple[dict[str, str], Sequence[int]]] = [
        ({"reason": "missing"}, [one]),
        ({"reason": "missing:ID"}, [one]),
        ({"reason": "missing:METER_ID"}, []),
        ({"reason": "miss"}, []),
        ({"dataset_id": "ds_b", "state": "all"}, [two]),
        ({"organization_id": "org_b"}, [three]),
        ({"record_type": "read"}, [three]),
        ({"source_ref": "g@2", "state": "all"}, [two]),
        ({"state": "replayed"}, [two]),
        ({"state": "open"}, [one, three]),
        ({}, [one, three]),
        ({"state": "all"}, [one, two, three]),
        ({"from_day": "2026-05-17"}, [three]),
        ({"from_day": "2026-05-17", "to_day": "2026-05-17", "state": "all"}, [two]),
        ({"to_day": "2026-05-16"}, [one]),
        ({"reason": "' OR 1 = 1 --"}, []),
        ({"record_id": "P-7"}, [one]),
        ({"record_id": "P"}, []),
        ({"line": "70001"}, [one]),
        ({"line": "70001", "source_ref": "g@2"}, []),
        ({"source": "f", "line": "70001"}, [one]),
        ({"source": "f@1"}, [one, three]),
        ({"source": "elsewhere.csv"}, []),
    ]
    for query, expected in wanted:
        assert sorted(await positions(whole_api, **query)) == sorted(expected), query
    for wrong in ("state=gone", "line=-1", "source=f&source_ref=f@1"):
        for place in ("", "/counts", ".csv"):
            assert_problem(await whole_api.http.get(f"/v1/quarantine{place}?{wrong}"), 422, "invalid")
    assert_problem(await whole_api.http.get("/v1/quarantine?from_day=0001-01-01"), 422, "invalid")


async def test_the_list_is_paged_and_tells_nothing_sealed(whole_api: Api, quarantine: Quarantine) -> None:
    """Following `next` shows every row once; neither seal nor value is in an answer."""
    paths = [quarantine.put() for _ in range(5)]
    seen: list[int] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        answer = await whole_api.http.get("/v1/quarantine", params=params)
        assert "sealed" not in answer.text
        assert "v1." not in answer.text
        seen += [int(item["position"]) for item in answer.json()["items"]]
        if answer.json()["next"] is None:
            break
        params["cursor"] = answer.json()["next"]
    assert seen == [position(path) for path in paths]
    for cursor in ("x", "W10", "WyJ0IiwtMV0", "WzEsMV0"):
        assert_problem(
            await whole_api.http.get("/v1/quarantine", params={"cursor": cursor}), 400, "bad_cursor"
        )


def test_the_view_for_analysts_has_no_seal(clickhouse: Any) -> None:
    """Whoever may read the view only cannot read originals, not even encrypted ones."""
    columns = clickhouse.client.query("SELECT * FROM quarantine LIMIT 0").column_names
    assert "sealed" not in columns
    assert "state" in columns


async def test_counts_are_by_day_dataset_and_reason(whole_api: Api, quarantine: Quarantine) -> None:
    """A row with two reasons is counted under both, and once in the total."""
    quarantine.put(reasons=["missing:ID", "bad_phone"], dataset_id="ds_a")
    quarantine.put(reasons=["missing:ID"], dataset_id="ds_a")
    quarantine.put(reasons=["missing:ID"], received_at=WHEN + timedelta(days=1))
    found = (await whole_api.http.get("/v1/quarantine/counts")).json()
    lines = [(item["day"], item["dataset_id"], item["reason"], item["rows"]) for item in found["items"]]
    assert lines == [
        ("2026-05-17", "", "missing:ID", 1),
        ("2026-05-16", "ds_a", "missing:ID", 2),
        ("2026-05-16", "ds_a", "bad_phone", 1),
    ]
    assert (found["total"], found["more"]) == (3, False)
    found = (await whole_api.http.get("/v1/quarantine/counts?reason=bad_phone")).json()
    assert found["total"] == 1


async def test_counts_and_exports_are_of_open_rows_unless_asked(
    whole_api: Api, quarantine: Quarantine
) -> None:
    """What is done with a row takes it off; the other states, and all of them, can be asked for."""
    given_up, replayed, _ = quarantine.put(), quarantine.put(), quarantine.put()
    assert (await post(whole_api, f"{given_up}/discard", reason="test data")).status_code == 200
    quarantine.judge(replayed)
    for asked, total in (("", 1), ("?state=open", 1), ("?state=discarded", 1), ("?state=all", 3)):
        counts = (await whole_api.http.get(f"/v1/quarantine/counts{asked}")).json()
        rows = (await whole_api.http.get(f"/v1/quarantine.csv{asked}")).text.splitlines()
        assert (counts["total"], len(rows) - 1) == (total, total), asked


async def test_every_fault_is_told_in_words(whole_api: Api, quarantine: Quarantine) -> None:
    """Field, code and what is expected, in the list, of one row, and in the file; never what was sent."""
    reasons = ["bad_decimal:PAYMENT_AMOUNT", "not_json", "end_before_start:end"]
    path = quarantine.put({**PAYMENT, "PAYMENT_AMOUNT": "1,234,56"}, reasons=reasons)
    listed = (await whole_api.http.get("/v1/quarantine")).json()["items"][0]
    one = (await whole_api.http.get(path)).json()
    assert listed["faults"] == one["faults"]
    number = "Decimal number with a point and without thousands separators."
    told = [(fault["field"], fault["code"], fault["expected"]) for fault in one["faults"]]
    assert told == [
        ("PAYMENT_AMOUNT", "bad_decimal", number),
        (None, "not_json", None),
        ("end", "end_before_start", None),
    ]
    assert all(fault["detail"] for fault in one["faults"])
    (row,) = csv.DictReader(io.StringIO((await whole_api.http.get("/v1/quarantine.csv")).text))
    said = row["faults"].split("; ")
    assert said[0].startswith("PAYMENT_AMOUNT bad_decimal: not a decimal number")
    assert said[1:] == [
        "not_json: the record is not JSON text in UTF-8",
        "end end_before_start: the end is not after the start",
    ]
    assert "1,234,56" not in json.dumps([listed, one, row])


async def test_the_export_runs_no_formula(
    whole_api: Api, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several pages: one line a row, cells that would be formulas marked, no value of a row."""
    monkeypatch.setattr("api.quarantine.export.PAGE", 2)
    value, headers = from_file(PAYMENT)
    for evil in ("=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "plain"):
        quarantine.put(value, headers, record_id=evil, source_ref=f'{evil}"@1')
    answer = await whole_api.http.get("/v1/quarantine.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["record_id"] for row in rows] == ["'=cmd|' /C calc'!A0", "'+1+1", "'@SUM(A1)", "plain"]
    assert rows[0]["source_ref"] == "'=cmd|' /C calc'!A0\"@1"
    assert rows[3]["reasons"] == "bad_decimal:PAYMENT_AMOUNT"
    for trace in (NAME, PHONE, "sealed", PSEUDONYMIZER.pseudonym(ORG, NAME)):
        assert trace not in answer.text
    assert (
        len(list(csv.reader(io.StringIO((await whole_api.http.get("/v1/quarantine.csv?reason=x")).text))))
        == 1
    )


async def test_a_row_tells_its_history(whole_api: Api, quarantine: Quarantine) -> None:
    """One row with what was done about it and what became of its replays; an unknown one is a 404."""
    path = quarantine.put()
    quarantine.act(path, "requeued")
    at = quarantine.judge(path, "quarantined", reasons=["missing:ID"])
    found = (await whole_api.http.get(path)).json()
    assert found["state"] == "replayed"
    assert [(item["action"], item["done_by"]) for item in found["actions"]] == [("requeued", "sweep")]
    assert [(item["position"], item["outcome"], item["reasons"]) for item in found["replays"]] == [
        (str(at), "quarantined", ["missing:ID"])
    ]
    for wrong in ("/v1/quarantine/nothing/1", path[:-1] + "99999"):
        assert_problem(await whole_api.http.get(wrong), 404, "not_found")
        assert_problem(await post(whole_api, f"{wrong}/replay"), 404, "not_found")
    assert_problem(await whole_api.http.get("/v1/quarantine/t/18446744073709551616"), 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "/counts"), ("GET", ".csv"), ("GET", "/t/1"), ("POST", "/t/1/original"),
        ("POST", "/t/1/replay"), ("POST", "/t/1/discard"), ("POST", "/t/1/restore"), ("POST", "/replays"),
        ("POST", "/discards"),
    ],
)  # fmt: skip
async def test_only_admins_come_near(whole_api: Api, method: str, path: str) -> None:
    """Nothing of the quarantine answers without an admin's token, nor with a device's."""
    device = await whole_api.device()
    token = (await whole_api.device_token(device["id"]))["token"]
    for given in ("", f"Bearer {token}"):
        answer = await whole_api.http.request(
            method, f"/v1/quarantine{path}", headers={"Authorization": given}, json={}
        )
        assert answer.status_code == 401, answer.text


# -- opening


async def test_an_original_is_opened_for_correction(whole_api: Api, quarantine: Quarantine) -> None:
    """Personal values in plain, also those that were no text; never cached; noted before it is opened."""
    value, headers = from_file(PAYMENT | {"Agent Name": "Orville", "custom": {"contact mail": "a@b.c"}})
    path = quarantine.put(value, headers)
    answer = await post(whole_api, f"{path}/original")
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["fields"] == PAYMENT | {"Agent Name": "Orville", "custom": {"contact mail": "a@b.c"}}
    assert found["text"] is None
    value, headers = from_file(PAYMENT | {"CUSTOMER_NAME": {"first": "Z"}, "CUSTOMER_PHONE": 2.3e12})
    found = (await post(whole_api, f"{quarantine.put(value, headers)}/original")).json()
    assert found["fields"]["CUSTOMER_NAME"] == '{"first":"Z"}'
    assert found["fields"]["CUSTOMER_PHONE"] == "2300000000000.0"
    entries = await audited(whole_api, action="quarantine.original_opened")
    assert entries[0]["subject"] == "/".join(path.split("/")[-2:])
    assert len(entries) == 2
    assert NAME not in json.dumps(entries)


async def test_text_that_is_no_row_is_shown_as_it_came(whole_api: Api, quarantine: Quarantine) -> None:
    """What a reader could not read, what is no JSON, what is no object."""
    raw = SEALER.seal(ORG, b"Jane;1;2\n\xff").encode()
    cases = [
        (b"{}", {"unreadable": b"unreadable_row", "sealed": raw}, "Jane;1;2\n\ufffd"),
        (b"no json", {}, "no json"),
        (b"[1, 2]", {}, "[1, 2]"),
        (b"[3]", {"unreadable": b"not_object"}, "[3]"),
        (b'{"ID":1,"ID":2}', {}, '{"ID":1,"ID":2}'),
    ]
    for value, headers, text in cases:
        found = (await post(whole_api, f"{quarantine.put(value, headers)}/original")).json()
        assert (found["fields"], found["text"]) == (None, text)


async def test_a_seal_of_another_secret_stays_closed(whole_api: Api, quarantine: Quarantine) -> None:
    """It can be discarded, but neither read nor replayed; the attempt to read is in the audit."""
    path = quarantine.put(sealed=Sealer(b"f" * 32).seal(ORG, b"{}"))
    for what in ("original", "replay"):
        assert_problem(await post(whole_api, f"{path}/{what}"), 409, "seal_broken")
    assert len(await audited(whole_api, action="quarantine.original_opened")) == 1
    assert (await post(whole_api, f"{path}/discard", reason="old secret")).status_code == 200


# -- replaying


async def test_a_corrected_row_goes_through_the_same_door(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """A new record: original lineage, signed `replay_of`, pseudonyms, a new seal, at its identity's home."""
    value, headers = from_file(PAYMENT)
    path = quarantine.put(value, headers, source_ref="s3://b/f@1", line=7)
    changes = {"ID": "P2", "PAYMENT_AMOUNT": "12", "CUSTOMER_NAME": "New Name", "METER_ID": None}
    answer = await post(whole_api, f"{path}/replay", changes=changes)
    assert answer.status_code == 202, answer.text
    assert answer.json()["changed"] is True
    (record,) = published(endpoints, path)
    row = orjson.loads(record.value() or b"")
    assert (row["ID"], row["PAYMENT_AMOUNT"], "METER_ID" in row) == ("P2", "12", False)
    assert row["CUSTOMER_NAME"] == PSEUDONYMIZER.pseudonym(ORG, "New Name")
    assert row["CUSTOMER_PHONE"] == PSEUDONYMIZER.pseudonym(ORG, PHONE)
    given = record_headers(record)
    assert orjson.loads(SEALER.open(ORG, given.pop("sealed"))) == {
        "CUSTOMER_NAME": "New Name",
        "CUSTOMER_PHONE": PHONE,
    }
    assert SIGNER.open("replay_of", ORG, given.pop("replay_of").encode()) == position(path)
    assert given == {
        "organization_id": ORG, "dataset_id": "", "source": "s3", "source_ref": "s3://b/f@1", "line": "7",
        "received_at": "2026-05-16T14:16:01.000Z",
    }  # fmt: skip
    key = payment_key(ORG, "", "P2")
    assert record.key() == key.encode()
    assert record.partition() == partition_of(key, 4)
    assert await state(whole_api, path) == "replaying"
    (entry,) = await audited(whole_api, action="quarantine.replay")
    assert entry["details"] == {
        "fields": ["CUSTOMER_NAME", "ID", "METER_ID", "PAYMENT_AMOUNT"],
        "changed": True,
    }
    assert "New Name" not in json.dumps(entry)


async def test_an_unchanged_replay_is_the_same_row(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """Pseudonyms and tokens as they were; a direct publisher's plain text is not sent again in plain."""
    given = PAYMENT | {"CUSTOMER_PHONE": [PHONE], "Contact Name": NAME}
    value, headers = from_file(given)
    from_disk = quarantine.put(value, headers)
    direct = quarantine.put(given, source="topic", source_ref="", line=0)
    for path in (from_disk, direct):
        assert (await post(whole_api, f"{path}/replay")).json()["changed"] is False
    assert [orjson.loads(record.value() or b"") for record in published(endpoints, direct)] == [
        orjson.loads(value)
    ] * 2
    assert all(NAME.encode() not in (record.value() or b"") for record in published(endpoints, direct))
    sealed = [record_headers(record)["sealed"] for record in published(endpoints, direct)]
    assert orjson.loads(SEALER.open(ORG, sealed[0])) == orjson.loads(SEALER.open(ORG, sealed[1]))


async def test_the_namespace_of_the_dataset_is_in_the_key(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """Another id namespace is another identity, and another home."""
    project = await whole_api.project()
    owner = project["organization_id"]
    dataset = await whole_api.dataset(project, id_namespace="crm-2")
    value, headers = from_file(PAYMENT, owner)
    path = quarantine.put(value, headers, organization_id=owner, dataset_id=dataset["id"])
    assert (await post(whole_api, f"{path}/replay")).status_code == 202
    (record,) = published(endpoints, path)
    assert record.key() == payment_key(owner, "crm-2", "P1").encode()


async def test_a_row_that_could_not_be_read_needs_a_whole_new_one(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """As it is it would come back for ever; with fields it is a row, and the mark of the reader is gone."""
    raw = SEALER.seal(ORG, b"Jane;1;2").encode()
    path = quarantine.put(b"{}", {"unreadable": b"unreadable_row", "sealed": raw})
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "needs_changes")
    assert (await post(whole_api, f"{path}/replay", changes=PAYMENT)).status_code == 202
    no_json = quarantine.put(b"no json")
    assert (await post(whole_api, f"{no_json}/replay", changes=PAYMENT | {"ID": "P9"})).status_code == 202
    records = published(endpoints, path)
    assert {orjson.loads(record.value() or b"")["ID"] for record in records} == {"P1", "P9"}
    for record in records:
        given = record_headers(record)
        assert "unreadable" not in given
        assert orjson.loads(SEALER.open(ORG, given["sealed"]))["CUSTOMER_NAME"] == NAME


async def test_a_text_that_is_no_json_can_be_sent_as_it_is(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """After a cure in our code the same bytes may get another verdict."""
    path = quarantine.put(b"\xef\xbb\xbf{}", organization_id="")
    assert (await post(whole_api, f"{path}/replay")).status_code == 202
    (record,) = published(endpoints, path)
    assert record.value() == b"\xef\xbb\xbf{}"


async def test_reads_are_corrected_too(whole_api: Api, quarantine: Quarantine, endpoints: Endpoints) -> None:
    """A device's read keeps its bytes where nothing changes, and moves when its device does."""
    same = quarantine.put(b'{"device_external_id": "D1",  "value": 1.10}', record_type="read")
    other = quarantine.put(READ, record_type="read", reasons=["unknown_device"], missing_kind="devices")
    assert (await post(whole_api, f"{same}/replay")).status_code == 202
    answer = await post(whole_api, f"{other}/replay", changes={"device_external_id": " D2 ", "value": 7})
    assert answer.status_code == 202
    found = {record.value(): record for record in published(endpoints, same)}
    assert b'{"device_external_id": "D1",  "value": 1.10}' in found
    (record,) = [record for value, record in found.items() if b"D2" in (value or b"")]
    assert record.key() == read_key(ORG, "D2").encode()
    assert record.partition() == partition_of(read_key(ORG, "D2"), 4)
    assert "sealed" not in record_headers(record)
    answer = await post(whole_api, f"{quarantine.put(READ, record_type='read')}/replay", changes={"ID": "x"})
    assert_problem(answer, 422, "invalid")


@pytest.mark.parametrize(
    "body",
    [
        '{"changes": {"NO_FIELD": "1"}}', '{"changes": {"ID": NaN}}', '{"changes": {"ID": "\\ud800"}}',
        '{"changes": {"ID": 123456789012345678901234567890}}', '{"changes": []}', '{"change": {}}',
        '{"changes": {"NOTES": ' + "[" * 300 + "]" * 300 + "}}",
    ],
)  # fmt: skip
async def test_changes_that_cannot_be_made_change_nothing(
    whole_api: Api, quarantine: Quarantine, body: str
) -> None:
    """Named as faults of the request; the row stays open and nothing is claimed."""
    path = quarantine.put()
    answer = await whole_api.http.post(
        f"{path}/replay", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}, answer.text
    assert "NO_FIELD" not in answer.text
    assert await state(whole_api, path) == "open"
    assert claims(whole_api) == 0


async def test_an_alias_is_replaced_with_its_field(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """A direct publisher's `CUSTOMER NAME` does not stay beside the corrected CUSTOMER_NAME."""
    row = {**PAYMENT, "CUSTOMER NAME": NAME, "odd": "1"}
    del row["CUSTOMER_NAME"]
    path = quarantine.put(row)
    answer = await post(whole_api, f"{path}/replay", changes={"CUSTOMER_NAME": "New", "odd": None})
    assert answer.status_code == 202
    (record,) = published(endpoints, path)
    sent = orjson.loads(record.value() or b"")
    assert {"CUSTOMER NAME", "odd"}.isdisjoint(sent)
    assert sent["CUSTOMER_NAME"] == PSEUDONYMIZER.pseudonym(ORG, "New")
    assert NAME not in SEALER.open(ORG, record_headers(record)["sealed"]).decode()


async def test_a_row_that_outgrows_a_record_is_refused(whole_api: Api, quarantine: Quarantine) -> None:
    """Before anything is claimed, with what to do about it."""
    path = quarantine.put()
    answer = await post(whole_api, f"{path}/replay", changes={"NOTES": "x" * 1_000_000})
    assert_problem(answer, 409, "too_large")
    assert await state(whole_api, path) == "open"


# -- once


async def test_a_row_is_replayed_once(whole_api: Api, quarantine: Quarantine, endpoints: Endpoints) -> None:
    """Twenty requests at once publish one record; later ones are told that it is under way, then done."""
    path = quarantine.put()
    answers = await asyncio.gather(*[post(whole_api, f"{path}/replay") for _ in range(20)])
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    assert_problem(await post(whole_api, f"{path}/replay", changes={"ID": "P2"}), 409, "being_replayed")
    assert_problem(await post(whole_api, f"{path}/discard", reason="twice"), 409, "being_replayed")
    quarantine.judge(path)
    for what, body in {"replay": {}, "discard": {"reason": "late"}}.items():
        assert_problem(await post(whole_api, f"{path}/{what}", **body), 409, "already_replayed")
    assert len(published(endpoints, path)) == 1
    assert len(await audited(whole_api, action="quarantine.replay")) == 1
    assert await asyncio.to_thread(whole_api.running.settler.step) == 1
    assert claims(whole_api) == 0
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "already_replayed")


async def test_a_replay_of_another_organisation_is_not_this_ones(
    whole_api: Api, quarantine: Quarantine
) -> None:
    """A ledger row marks a row as replayed within its organisation only."""
    path = quarantine.put()
    quarantine.judge(path, organization_id="org_b")
    assert await state(whole_api, path) == "open"
    assert (await post(whole_api, f"{path}/replay")).status_code == 202


async def test_a_nameless_organisation_is_no_obstacle(whole_api: Api, quarantine: Quarantine) -> None:
    """A header may hold anything: NUL, which PostgreSQL refuses, long text, none at all."""
    for owner in ("a\0b", "x" * 4000, ""):
        path = quarantine.put(
            organization_id=owner, reasons=["unknown_organization"], missing_kind="organizations"
        )
        assert (await post(whole_api, f"{path}/original")).status_code == 200
        assert (await post(whole_api, f"{path}/replay")).status_code == 202
        quarantine.judge(path, organization_id=owner)
        assert await asyncio.to_thread(whole_api.running.settler.step) == 1
    assert "\0" not in (await audited(whole_api))[0]["organization_id"]


async def test_the_sweep_was_faster(whole_api: Api, quarantine: Quarantine, endpoints: Endpoints) -> None:
    """A row that a worker is replaying by itself is left to it, and free again for its next look."""
    path = quarantine.put(missing_kind="devices", missing_id="D1", record_type="read")
    quarantine.act(path, "requeued")
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "being_replayed")
    assert_problem(await post(whole_api, f"{path}/discard", reason="not now"), 409, "being_replayed")
    assert quarantine.actions(path) == ["requeued", "claimed", "withdrawn", "claimed", "withdrawn"]
    assert published(endpoints, path) == []
    assert claims(whole_api) == 0
    assert len(await audited(whole_api, action="quarantine.withdrawn")) == 2


async def test_a_sweep_that_died_is_not_waited_for(whole_api: Api, quarantine: Quarantine) -> None:
    """Its intention is old, everything in the topic is judged, and no replay is among it."""
    path = quarantine.put(missing_kind="datasets", missing_id="ds_1")
    quarantine.act(path, "requeued", age_s=2 * CLAIM_S)
    assert (await post(whole_api, f"{path}/replay")).status_code == 202


async def test_a_sweep_whose_record_may_be_on_its_way_is_waited_for(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """As long as a record in the topic has no outcome yet, it may be the replay."""
    path = quarantine.put(missing_kind="datasets", missing_id="ds_1")
    quarantine.act(path, "requeued", age_s=2 * CLAIM_S)
    publisher = Publisher(endpoints.kafka)
    await publisher.publish_all([Record(path.split("/")[-2], b"k", b"{}")], 30)
    publisher.close()
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "being_replayed")


class Dies(Publisher):
    """A publisher whose process ends before or after the broker has the record."""

    before = False

    def group(self, check: Any = None) -> Group:
        """A group that never tells its end."""
        if self.before:
            raise RuntimeError("killed")
        group = super().group(check)
        wait = group.wait

        def killed(deadline_s: float) -> int:
            wait(deadline_s)
            raise RuntimeError("killed")

        group.wait = killed  # type: ignore[method-assign]
        return group


@pytest.fixture
async def dying(make_api: MakeApi, whole: ApiParts, endpoints: Endpoints) -> Any:
    """An application that dies while it publishes, and its publisher."""
    publisher = Dies(endpoints.kafka)
    api = await make_api(whole, publisher=publisher)
    await api.log_in()
    yield api, publisher
    publisher.close()


async def test_a_replay_is_not_doubled_when_the_api_dies_after_publishing(
    dying: Any, whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """The claim of the dead keeps everybody away until the ledger tells, however old it is."""
    api, _ = dying
    path = quarantine.put()
    assert_problem(await post(api, f"{path}/replay"), 500, "internal_error")
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "being_replayed")
    age_claims(whole_api)
    # the record is in the topic and not judged yet: nobody can say that there is none
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "being_replayed")
    assert await asyncio.to_thread(whole_api.running.settler.step) == 0
    quarantine.judge(path)
    assert await asyncio.to_thread(whole_api.running.settler.step) == 1
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "already_replayed")
    assert len(published(endpoints, path)) == 1


async def test_a_replay_that_was_never_sent_is_free_again(
    dying: Any, whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """Old, and everything in the topic is judged: by the settler, or by whoever asks for the row next."""
    api, publisher = dying
    publisher.before = True
    path, other = quarantine.put(), quarantine.put()
    for row in (path, other):
        assert_problem(await post(api, f"{row}/replay"), 500, "internal_error")
        assert await state(whole_api, row) == "replaying"
    age_claims(whole_api)
    assert (await post(whole_api, f"{path}/replay", changes={"ID": "P7"})).status_code == 202
    publisher.before = False
    entries = await audited(whole_api, action="quarantine.withdrawn", user_id="settler")
    assert [entry["details"] for entry in entries] == [{"because": "never_sent"}]
    # the record of the first is not judged, so nothing can be said of the second
    assert await asyncio.to_thread(whole_api.running.settler.step) == 0
    assert await state(whole_api, other) == "replaying"
    assert len(published(endpoints, path)) == 1


async def test_a_broker_that_is_away_is_a_503(
    make_api: MakeApi, whole: ApiParts, lonely_publisher: Publisher, quarantine: Quarantine
) -> None:
    """Noticed before anything is claimed."""
    api = await make_api(whole, publisher=lonely_publisher)
    await api.log_in()
    path = quarantine.put()
    assert_problem(await post(api, f"{path}/replay"), 503, "broker_away")
    assert claims(api) == 0
    assert await state(api, path) == "open"


async def test_a_broker_that_does_not_acknowledge_keeps_the_row(
    whole_api: Api, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has the record is unknown, so nobody sends another one before that is known."""
    path = quarantine.put()

    def silent(_group: Group, _deadline_s: float) -> int:
        raise BrokerUnavailable("no acknowledgement in time")

    with monkeypatch.context() as patch:
        patch.setattr(Group, "wait", silent)
        assert_problem(await post(whole_api, f"{path}/replay"), 503, "broker_away")
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "being_replayed")


async def test_the_same_content_does_not_go_round(whole_api: Api, quarantine: Quarantine) -> None:
    """A chain of replays of one original ends after a few with nothing changed; a correction goes on."""
    path = quarantine.put()
    for _ in range(MAX_UNCHANGED_REPLAYS):
        assert (await post(whole_api, f"{path}/replay")).status_code == 202
        quarantine.judge(path, "quarantined")
        path = quarantine.put(replay_of=position(path))
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "replay_limit")
    same = {"PAYMENT_AMOUNT": PAYMENT["PAYMENT_AMOUNT"]}
    assert_problem(await post(whole_api, f"{path}/replay", changes=same), 409, "replay_limit")
    assert await state(whole_api, path) == "open"
    assert (await post(whole_api, f"{path}/replay", changes={"PAYMENT_AMOUNT": "1"})).status_code == 202
    quarantine.judge(path, "quarantined")
    path = quarantine.put(replay_of=position(path))
    assert (await post(whole_api, f"{path}/replay")).status_code == 202


# -- many


async def test_all_of_a_reason_are_replayed(
    whole_api: Api, quarantine: Quarantine, endpoints: Endpoints
) -> None:
    """In pages, each row once; what cannot be replayed is named, what waits is left to the sweep."""
    for number in range(5):
        quarantine.put(PAYMENT | {"ID": f"P{number}"}, reasons=["unknown_currency"])
    bad = quarantine.put(b"{}", {"unreadable": b"unreadable_row"}, reasons=["unknown_currency"])
    waiting = quarantine.put(reasons=["unknown_currency"], missing_kind="datasets", missing_id="d")
    done = quarantine.put(reasons=["unknown_currency"])
    quarantine.judge(done)
    elsewhere = quarantine.put(reasons=["missing:ID"])
    read = quarantine.put(READ, record_type="read", reasons=["unknown_currency"])
    trial = (await post(whole_api, "/v1/quarantine/replays", reason="unknown_currency", dry_run=True)).json()
    assert (trial["matched"], trial["waiting"], trial["done"], trial["next"]) == (7, 1, 0, None)
    assert published(endpoints, bad) == []
    body: dict[str, Any] = {"reason": "unknown_currency", "limit": 3}
    counts, skipped = [], []
    while True:
        answer = await post(whole_api, "/v1/quarantine/replays", **body)
        assert answer.status_code == 200, answer.text
        counts.append(answer.json()["done"])
        skipped += answer.json()["skipped"]
        if answer.json()["next"] is None:
            break
        body["cursor"] = answer.json()["next"]
    assert sum(counts) == 6
    assert [(item["position"], item["code"]) for item in skipped] == [(str(position(bad)), "needs_changes")]
    assert len(published(endpoints, bad)) == 5
    assert len(published(endpoints, read)) == 1
    for path in (waiting, elsewhere):
        assert await state(whole_api, path) == "open"
    again = (await post(whole_api, "/v1/quarantine/replays", reason="unknown_currency")).json()
    assert (again["matched"], again["done"]) == (1, 0)
    assert len(published(endpoints, bad)) == 5
    assert len(await audited(whole_api, action="quarantine.replay")) == 6


async def test_bulk_requests_name_what_they_mean(whole_api: Api, quarantine: Quarantine) -> None:
    """Everything at once is nobody's intention; limits and cursors are checked."""
    path = quarantine.put()
    for body in ({}, {"dry_run": True}, {"reason": "x", "limit": 1001}, {"reason": "x", "state": "open"}):
        assert_problem(await post(whole_api, "/v1/quarantine/replays", **body), 422, "invalid")
    answer = await post(whole_api, "/v1/quarantine/replays", reason="x", cursor="x")
    assert_problem(answer, 400, "bad_cursor")
    assert_problem(await post(whole_api, "/v1/quarantine/discards", reason="bad_decimal"), 422, "invalid")
    assert await state(whole_api, path) == "open"


# -- discarding


async def test_a_discarded_row_is_left_alone_until_it_is_restored(
    whole_api: Api, quarantine: Quarantine, clickhouse: Any
) -> None:
    """Not replayed by hand or in bulk or by the sweep; its reason and who gave it are told."""
    path = quarantine.put(missing_kind="organizations", missing_id=ORG)
    answer = await post(whole_api, f"{path}/discard", reason=" test data of the vendor ")
    assert answer.status_code == 200, answer.text
    found = (await whole_api.http.get(path)).json()
    assert found["state"] == "discarded"
    assert found["actions"][-1]["reason"] == "test data of the vendor"
    assert found["actions"][-1]["done_by"].startswith("usr_")
    assert_problem(await post(whole_api, f"{path}/replay"), 409, "discarded")
    assert_problem(await post(whole_api, f"{path}/discard", reason="again"), 409, "discarded")
    assert claims(whole_api) == 0
    assert (await post(whole_api, f"{path}/restore")).status_code == 200
    assert await state(whole_api, path) == "open"
    assert_problem(await post(whole_api, f"{path}/restore"), 409, "not_discarded")
    entries = await audited(whole_api, subject_kind="quarantined_row")
    assert [(entry["action"], entry["details"]) for entry in entries] == [
        ("quarantine.discard", {"reason": "test data of the vendor"}), ("quarantine.restore", {}),
    ]  # fmt: skip


async def test_all_of_a_dataset_are_discarded(whole_api: Api, quarantine: Quarantine) -> None:
    """With one reason for all; rows that wait for a registration are given up too."""
    paths = [quarantine.put(dataset_id="ds_x"), quarantine.put(dataset_id="ds_x", missing_kind="datasets")]
    other = quarantine.put(dataset_id="ds_y")
    answer = await post(whole_api, "/v1/quarantine/discards", dataset_id="ds_x", why="sent by mistake")
    assert (answer.json()["matched"], answer.json()["done"]) == (2, 2)
    assert [await state(whole_api, path) for path in (*paths, other)] == ["discarded", "discarded", "open"]


@pytest.mark.parametrize("why", ["x", "call +234 809 991 2345", "ask a@b.example", "a\u0000b", "y" * 301])
async def test_a_reason_holds_no_personal_data(whole_api: Api, quarantine: Quarantine, why: str) -> None:
    """Neither numbers that may be telephones nor addresses; the answer does not repeat them."""
    answer = await post(whole_api, f"{quarantine.put()}/discard", reason=why)
    problem = assert_problem(answer, 422, "invalid")
    told = json.dumps({name: value for name, value in problem.items() if name != "request_id"})
    assert "809" not in told, "the random digits of the request apart"
    assert "b.example" not in told


async def test_clickhouse_away_is_a_503(api: Api) -> None:
    """Nothing can be told of the quarantine without it, not even half a file."""
    for path in ("/v1/quarantine", "/v1/quarantine/counts", "/v1/quarantine.csv", "/v1/quarantine/t/1"):
        assert_problem(await api.http.get(path), 503, "store_away")
    assert_problem(await post(api, "/v1/quarantine/t/1/replay"), 503, "store_away")


async def test_tails_that_are_away_leave_claims_alone(
    make_api: MakeApi, whole: ApiParts, quarantine: Quarantine
) -> None:
    """Without the broker nobody can tell whether a record is on its way."""
    api = await make_api(replace(whole, tails=None))
    await api.log_in()
    path = quarantine.put()
    quarantine.act(path, "requeued", age_s=2 * CLAIM_S)
    assert_problem(await post(api, f"{path}/replay"), 503, "broker_away")
    assert await state(api, path) == "replaying"
