"""Dry runs over the API: what waits at a source, judged beside the ledger, with nothing sent or moved."""

import csv
import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_helpers import Api, MakeApi, assert_problem
from judged import EPOCH, connect_meter, judged, store
from starlette.concurrency import run_in_threadpool

from api.checks import service
from api.checks.schemas import CheckOut
from api.checks.service import check_rows
from api.errors import StoreAway
from api.models import Dataset
from api.parts import ApiParts
from api.tables import RunFile
from producers.addresses import Hosts
from producers.google_account import ServiceAccount
from producers.sheets import SheetsAccess
from producers.tabular import Row, Table
from schemas.conflicts import DEFAULT_RULE
from sunledger.check_server import Multipart
from sunledger.embedded import s3
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.producers.google_double import Book, GoogleDouble, Sheet
from tests.producers.pull_double import KEY, PullDouble
from tests.streams.world import ORG
from tests.support.workers import payment


def file(*rows: Mapping[str, Any]) -> bytes:
    """A payments file of these rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def batches(*rows: Mapping[str, Any]) -> list[Sequence[Row]]:
    """The same as the reader gives it."""
    return list(Table(io.BytesIO(file(*rows)), "s3").batches())


def dataset(**fields: Any) -> Dataset:
    """A dataset that nobody stored."""
    given = {
        "id": "ds_1", "organization_id": ORG, "source": "s3", "target": "project", "project_ids": ["prj_1"],
        "id_namespace": "", "conflict_rule": dict(DEFAULT_RULE), "default_currency": None,
        "required_fields": [],
    }  # fmt: skip
    return Dataset(**{**given, **fields})


async def check(api: Api, *rows: Mapping[str, Any], **fields: Any) -> CheckOut:
    """The check of some rows."""
    return await run_in_threadpool(check_rows, api.running, dataset(**fields), batches(*rows), "f.csv")


async def test_rows_are_judged_beside_what_is_stored(whole_api: Api, clickhouse: ClickHouse) -> None:
    """A file that is new by itself has duplicates and conflicts beside the ledger, with the place."""
    noted = payment(1, NOTES="call Jane")
    await judged(clickhouse, noted, payment(2), payment(3, STATUS="pending"), dataset_id="ds_1")
    found = await check(
        whole_api,
        payment(1, NOTES="call Jane"),
        payment(2, PAYMENT_AMOUNT="7"),
        payment(2, PAYMENT_AMOUNT="5000.00"),
        payment(3, STATUS="processed"),
        payment(4),
        payment(5, PAYMENT_AMOUNT="x"),
        payment(6, STATUS="processed"),
        payment(6),
    )
    assert found.outcomes.model_dump() == {
        "accepted": 5, "duplicate": 1, "conflict": 1, "quarantined": 1
    }  # fmt: skip
    ledger = found.ledger
    assert ledger.outcomes.model_dump() == {"accepted": 2, "duplicate": 3, "conflict": 2, "quarantined": 1}
    assert [(one.line, one.fields, one.decision) for one in ledger.conflicts] == [
        (3, ["PAYMENT_AMOUNT"], None),
        (5, ["STATUS"], "take_new"),
    ]
    place = ledger.conflicts[0].stored
    assert place is not None
    assert (place.dataset_id, place.source, ledger.conflicts[0].first_line) == ("ds_1", "topic", None)
    assert "Jane" not in found.model_dump_json()


async def test_what_the_check_says_is_what_the_worker_decides_then(
    whole_api: Api, clickhouse: ClickHouse
) -> None:
    """The same rows sent afterwards get the outcomes that the check beside the ledger foretold."""
    await judged(clickhouse, payment(1, STATUS="a"), payment(2), payment(2, METER_ID="Q"))
    rows = [
        payment(1, STATUS="b"), payment(1, STATUS="a"), payment(1), payment(1, STATUS="b", NOTES="n"),
        payment(2, METER_ID="Q"), payment(2, METER_ID="R"), payment(2, CUSTOMER_NAME="Other"),
        payment(3), payment(3, ID="  P3 "), payment(9, ID="N/A"), payment(4, CUSTOMER_PHONE="2.3E+11"),
    ]  # fmt: skip
    found = await check(whole_api, *rows)
    before = clickhouse.value("SELECT count() FROM ledger")
    await judged(clickhouse, *rows)
    assert clickhouse.value("SELECT count() FROM ledger") == int(str(before)) + len(rows)
    stored = dict(
        clickhouse.rows(f"SELECT outcome, count() FROM ledger WHERE offset >= {before} GROUP BY outcome")
    )
    told = found.ledger.outcomes.model_dump()
    assert {name: count for name, count in told.items() if count} == stored


async def test_the_would_be_match_is_the_match_of_the_views(whole_api: Api, clickhouse: ClickHouse) -> None:
    """METER_ID, then EXTERNAL_ID, within the dataset's projects, at TIMESTAMP; near misses are hints."""
    for number, (external_id, more) in enumerate(
        [
            ("M-1", {}), (" M-2 ", {}), ("M-3", {}), ("M-3", {"project_id": "prj_2"}),
            ("M-4", {"project_id": "prj_2"}), ("M-5", {"valid_to": "2026-05-16T14:16:01Z"}), ("m-6", {}),
            ("0007", {}), ("M-8", {"archived": True}),
        ]
    ):  # fmt: skip
        connect_meter(clickhouse, external_id, f"con_{number}", **moments(more))
    for project in ("prj_1", "prj_2"):
        register_project(clickhouse, project)
    rows = [
        payment(1, METER_ID="M-1"), payment(2, METER_ID="M-2"), payment(3, METER_ID="M-3"),
        payment(4, METER_ID="M-4"), payment(5, METER_ID="M-5"), payment(6, METER_ID="M-6"),
        payment(7, METER_ID="7"), payment(8, METER_ID="M-8"), payment(9, METER_ID="x", EXTERNAL_ID="M-1"),
        payment(10, METER_ID="M-5", TIMESTAMP="2026-05-16T14:16:00"), payment(11, METER_ID="0"),
    ]  # fmt: skip
    found = await check(whole_api, *rows)
    assert found.ledger.match.model_dump(exclude={"hints"}) == {
        "matched": 5, "ambiguous": 0, "unmatched": 6, "rate": 0.4545, "near": 2
    }  # fmt: skip
    assert [(hint.line, hint.external_id) for hint in found.ledger.match.hints] == [(7, "m-6"), (8, "0007")]
    both = await check(whole_api, *rows, project_ids=["prj_1", "prj_2"])
    assert (both.ledger.match.matched, both.ledger.match.ambiguous) == (5, 1)


def moments(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with times as the writer wants them."""
    return {
        name: datetime.fromisoformat(value) if name.startswith("valid") else value
        for name, value in fields.items()
    }


def register_project(clickhouse: ClickHouse, id: str) -> None:
    """A project of the organisation, as the views see it."""
    row = {
        "id": id, "number": 1, "version": 1, "archived": False, "changed_at": EPOCH,
        "organization_id": ORG, "name": "P", "country": "NG", "programme_ids": [],
    }  # fmt: skip
    store(clickhouse, "project_versions", row)


@pytest.fixture
async def bucket_api(make_api: MakeApi, whole: ApiParts) -> Api:
    """One application that may connect to the shared S3 server, the admin logged in."""
    made = await make_api(whole, settings=replace(whole.settings, source_hosts=Hosts(["127.0.0.1"])))
    await made.log_in()
    return made


async def over_bucket(api: Api, endpoints: Endpoints, **objects: bytes) -> tuple[str, Any]:
    """A dataset over a new bucket with these objects under `in/`; its id, and what lists the bucket."""
    store_at, name = endpoints.s3, f"check-{secrets.token_hex(4)}"
    client = s3.client(**asdict(store_at))
    client.create_bucket(Bucket=name)
    for key, body in objects.items():
        client.put_object(Bucket=name, Key=f"in/{key.replace('_dot_', '.')}", Body=body)
    place = {
        "bucket": name, "prefix": "in", "endpoint_url": store_at.url,
        "access_key": store_at.access_key, "secret_key": store_at.secret_key,
    }  # fmt: skip
    made = await api.dataset(await api.project(), s3=place, required_fields=["STATUS"])

    def keys() -> list[str]:
        return sorted(found["Key"] for found in client.list_objects_v2(Bucket=name).get("Contents", []))

    return made["id"], keys


async def test_a_bucket_is_looked_at_and_left_as_it_is(bucket_api: Api, endpoints: Endpoints) -> None:
    """Every file that a run would publish or refuse is told of, under the dataset's terms; none is moved."""
    good = [payment(number, STATUS="ok") for number in range(1, 4)]
    dataset_id, keys = await over_bucket(
        bucket_api, endpoints,
        ELECTRICITY_PAYMENT_dot_csv=file(*good, good[0], {**payment(4), "Colour": "r", "+234 803 111": "x"}),
        other_dot_csv=file(*good), notes_dot_txt=b"hello",
    )  # fmt: skip
    before = keys()
    answer = await bucket_api.http.post(f"/v1/datasets/{dataset_id}/dry-run")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["dataset_id"], found["complete"]) == (dataset_id, True)
    right, wrong = found["checks"]
    assert right["file"].endswith("/in/ELECTRICITY_PAYMENT.csv@" + right["file"].partition("@")[2])
    assert {name: right[name] for name in ("profile", "rows", "ok", "bad", "file_error")} == {
        "profile": "s3", "rows": 5, "ok": 4, "bad": 1, "file_error": None
    }  # fmt: skip
    assert [(one["line"], one["field"], one["code"]) for one in right["errors"]] == [(6, "STATUS", "missing")]
    assert right["duplicates"] == [{"line": 5, "first_line": 2}]
    [warning] = right["warnings"]
    assert warning["code"] == "unknown_columns"
    assert "'Colour'" in warning["detail"]
    assert "803" not in warning["detail"]
    assert (wrong["rows"], wrong["file_error"]["code"]) == (0, "wrong_name")
    assert "found 'other.csv'" in wrong["file_error"]["detail"]
    assert right["ledger"]["match"]["rate"] == 0
    assert keys() == before
    runs = (await bucket_api.http.get(f"/v1/runs?dataset_id={dataset_id}")).json()
    assert runs["items"] == []


async def test_what_cannot_be_looked_at_is_said(bucket_api: Api, endpoints: Endpoints) -> None:
    """Nothing to look for, keys that open nothing, too many checks, no dataset: one problem each."""
    project = await bucket_api.project()
    upload = await bucket_api.dataset(project, source="upload", s3=None)
    path = f"/v1/datasets/{upload['id']}/dry-run"
    assert_problem(await bucket_api.http.post(path), 409, "source_refuses")
    dataset_id, _ = await over_bucket(bucket_api, endpoints, ELECTRICITY_PAYMENT_dot_csv=file(payment(1)))
    path = f"/v1/datasets/{dataset_id}/dry-run"
    taken = [service.slots.acquire(blocking=False) for _ in range(service.AT_ONCE)]
    try:
        assert all(taken)
        busy = await bucket_api.http.post(path)
        assert_problem(busy, 429, "too_many_requests")
        assert busy.headers["retry-after"]
    finally:
        for _ in taken:
            service.slots.release()
    place = {"bucket": "b", "endpoint_url": endpoints.s3.url, "access_key": "nobody", "secret_key": "SKEY-x"}
    await bucket_api.http.patch(f"/v1/datasets/{dataset_id}", json={"s3": place})
    refused = await bucket_api.http.post(path)
    assert_problem(refused, 409, "source_refuses")
    assert "SKEY" not in refused.text
    assert_problem(await bucket_api.http.post("/v1/datasets/ds_x/dry-run"), 404, "not_found")


async def test_without_the_ledger_there_is_no_answer(make_api: MakeApi, parts: ApiParts) -> None:
    """A check that could not ask ClickHouse says so and tells nothing half."""
    api = await make_api(parts)
    with pytest.raises(StoreAway):
        await check(api, payment(1))


async def test_a_sheet_is_read_and_nothing_recorded(make_api: MakeApi, whole: ApiParts) -> None:
    """Each visible sheet is checked by the intake's own reading; one with a wrong header says so."""
    with GoogleDouble() as google:
        good = payment(1)
        rows = [list(good), list(good.values()), list(payment(1, PAYMENT_AMOUNT="x").values())]
        google.books["1SheetOfTheTest"] = Book([Sheet("May", rows), Sheet("Notes", [["hello"], ["world"]])])
        access = SheetsAccess(ServiceAccount(google.key()), google.url, first_pause_s=0.01)
        api = await make_api(whole, sheets=access)
        await api.log_in()
        place = {"spreadsheet_id": "1SheetOfTheTest"}
        made = await api.dataset(await api.project(), source="sheet", s3=None, sheet=place)
        answer = await api.http.post(f"/v1/datasets/{made['id']}/dry-run")
        assert answer.status_code == 200, answer.text
        may, notes = answer.json()["checks"]
        assert (may["rows"], may["bad"], may["profile"]) == (2, 1, "sheet")
        assert [(one["line"], one["field"]) for one in may["errors"]] == [(3, "PAYMENT_AMOUNT")]
        assert notes["file_error"]["code"] == "bad_header"
        with api.running.db.read() as session:
            assert session.query(RunFile).count() == 0
        without = await make_api(whole)
        await without.log_in()
        refused = await without.http.post(f"/v1/datasets/{made['id']}/dry-run")
        assert_problem(refused, 409, "source_refuses")


async def test_a_pull_api_is_asked_and_nothing_recorded(bucket_api: Api) -> None:
    """Every window with payments is checked; an API that refuses the key is told."""
    double = PullDouble()
    try:
        day = datetime.now(UTC) - timedelta(days=2)
        for number in (1, 2):
            double.add(number, day.strftime("%Y-%m-%dT01:00:00Z"))
        place = {"url": double.url, "key": KEY, "since": (day - timedelta(days=3)).date().isoformat()}
        made = await bucket_api.dataset(await bucket_api.project(), source="pull", s3=None, pull=place)
        path = f"/v1/datasets/{made['id']}/dry-run"
        answer = await bucket_api.http.post(path)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        [window] = found["checks"]
        assert (found["complete"], window["rows"], window["ok"], window["profile"]) == (True, 2, 2, "pull")
        with bucket_api.running.db.read() as session:
            assert session.query(RunFile).count() == 0
        wrong = {"pull": {**place, "key": "SKEY-wrong"}}
        await bucket_api.http.patch(f"/v1/datasets/{made['id']}", json=wrong)
        refused = await bucket_api.http.post(path)
        assert_problem(refused, 409, "source_refuses")
        assert "SKEY" not in refused.text
    finally:
        double.close()


async def test_an_upload_of_the_command_is_checked_and_not_kept(whole_api: Api) -> None:
    """What `sunledger check --server` sends is read as it was meant: the same report, and no upload."""
    project = await whole_api.project()
    data = file(payment(1), payment(2, PAYMENT_AMOUNT="x"), payment(1))
    fields = {
        "dataset_name": "01_2026_Site", "dataset_type": "electricity_payments", "data_provider": "User",
        "project_ids": [project["id"]], "dry_run": "true",
    }  # fmt: skip
    body = Multipart(fields, "ELECTRICITY_PAYMENT.csv", io.BytesIO(data))
    sent = b"".join(iter(lambda: body.read(1 << 10), b""))
    assert len(sent) == len(body)
    answer = await whole_api.http.post(
        "/v1/uploads", content=sent, headers={"Content-Type": body.content_type}
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["file"], found["profile"], found["rows"], found["bad"]) == (
        "ELECTRICITY_PAYMENT.csv", "upload", 3, 1
    )  # fmt: skip
    assert found["ledger"]["outcomes"] == found["outcomes"]
    assert found["duplicates"] == [{"line": 4, "first_line": 2}]
    assert (await whole_api.http.get("/v1/uploads")).json()["items"] == []
    assert (await whole_api.http.get("/v1/datasets")).json()["items"] == []
