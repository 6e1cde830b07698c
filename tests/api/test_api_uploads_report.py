"""errors.csv: the rows of an upload that are refused now, as they were sent, with what is wrong with each."""

import asyncio
import csv
import io
from typing import Any

import orjson
import pytest
from api_helpers import Api, MakeApi, assert_problem
from refused import NAME, PAYMENT, PHONE, SEALER, Quarantine, audited, from_file
from sqlalchemy import update
from uploads import WORKBOOK, accepted, left, send, table, workbook

from api.parts import ApiParts
from api.tables import RunFile, Upload
from api.uploads import report
from schemas.identity import split_position
from schemas.personal import Sealer
from tests.conftest import ClickHouse

COLUMNS = [*PAYMENT, "Colour"]


class Uploaded:
    """An upload whose rows were judged as the tests say."""

    def __init__(self, api: Api, made: dict[str, Any], clickhouse: ClickHouse, prefix: str) -> None:
        self.api = api
        self.id = made["id"]
        self.path = f"/v1/uploads/{made['id']}/errors.csv"
        self.owner = made["organization_id"]
        self.lineage = {
            "organization_id": made["organization_id"],
            "dataset_id": made["dataset_id"],
            "source": "upload",
            "source_ref": made["source_ref"],
        }
        self._clickhouse = clickhouse
        self._quarantine = Quarantine(clickhouse, prefix)

    def refuse(
        self,
        line: int,
        *reasons: str,
        raw: str = "",
        details: str = "",
        replay_of: int | None = None,
        **row: Any,
    ) -> int:
        """A refused row and its ledger row; its position."""
        if raw:
            sealed = SEALER.seal(self.owner, raw.encode()).encode()
            value, headers = b"{}", {"unreadable": b"unreadable_row", "sealed": sealed}
        else:
            value, headers = from_file({**PAYMENT, **row}, self.owner)
        more = {**self.lineage, "line": line, "reasons": list(reasons), "replay_of": replay_of,
                "details": details}  # fmt: skip
        path = self._quarantine.put(value, headers, **more)
        at = int(path.rpartition("/")[2])
        self.judge(path, at, "quarantined", list(reasons), line, replay_of)
        return at

    def judge(
        self, path: str, at: int, outcome: str, reasons: list[str], line: int, replay_of: int | None
    ) -> None:
        """A ledger row."""
        _, partition, offset = split_position(at)
        row = {
            "topic": path.split("/")[-2], "position": at, "record_type": "payment", "record_id": "",
            "identity": 0, "content_hash": 0, "outcome": outcome, "reasons": reasons, "line": line,
            "partition": partition, "offset": offset, "replay_of": replay_of, **self.lineage,
        }  # fmt: skip
        self._clickhouse.client.insert("ledger_rows", [list(row.values())], list(row))

    async def report(self) -> list[dict[str, str]]:
        """The report's rows."""
        answer = await self.api.http.get(self.path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["cache-control"] == "no-store"
        return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.fixture
async def uploaded(whole_api: Api, clickhouse: ClickHouse, kafka_prefix: str) -> Uploaded:
    """An upload without any judged row."""
    good = {**PAYMENT, "PAYMENT_AMOUNT": "1", "Colour": "red"}
    made = await accepted(whole_api, await whole_api.project(), table([good]))
    return Uploaded(whole_api, made, clickhouse, kafka_prefix)


async def test_each_fault_of_each_refused_row_has_a_line(uploaded: Uploaded) -> None:
    """Original cells with personal values put back, unknown columns too, then line, field, reason, detail."""
    uploaded.refuse(3, "bad_decimal:PAYMENT_AMOUNT", "missing:METER_ID", PAYMENT_AMOUNT="1,2", METER_ID="",
                    custom={"Colour": "red"})  # fmt: skip
    uploaded.refuse(2, "bad_timestamp:TIMESTAMP", TIMESTAMP="yesterday")
    one, two, three = await uploaded.report()
    assert list(one) == [*COLUMNS, "line", "field", "reason", "detail", "raw"]
    assert (one["line"], one["field"], one["reason"], one["TIMESTAMP"]) == (
        "2", "TIMESTAMP", "bad_timestamp", "yesterday"
    )  # fmt: skip
    assert (one["CUSTOMER_NAME"], one["CUSTOMER_PHONE"], one["detail"]) == (
        NAME, PHONE, "not a date and time in ISO 8601 with seconds, such as 2021-05-16T14:16:01Z"
    )  # fmt: skip
    assert [(row["line"], row["field"], row["reason"]) for row in (two, three)] == [
        ("3", "PAYMENT_AMOUNT", "bad_decimal"), ("3", "METER_ID", "missing")
    ]  # fmt: skip
    assert two["PAYMENT_AMOUNT"] == three["PAYMENT_AMOUNT"] == "1,2"
    assert two["Colour"] == "red"


async def test_cells_come_back_as_they_were_sent(uploaded: Uploaded) -> None:
    """A decimal comma and a telephone number with spaces: corrected in the report, the row is the same."""
    uploaded.refuse(
        2, "missing:METER_ID", METER_ID="", PAYMENT_AMOUNT="-5000.5", CUSTOMER_PHONE="+234 801 234 5678",
        custom={"Colour": "red", "PAYMENT_AMOUNT_AS_SENT": "-5000,5"},
    )  # fmt: skip
    (row,) = await uploaded.report()
    assert list(row) == [*COLUMNS, "line", "field", "reason", "detail", "raw"]
    assert (row["PAYMENT_AMOUNT"], row["CUSTOMER_PHONE"], row["Colour"]) == (
        "-5000,5", "+234 801 234 5678", "red"
    )  # fmt: skip


async def test_a_row_that_no_reader_could_take_apart_is_shown_raw(uploaded: Uploaded) -> None:
    """Its text as it came, made harmless; the cells stay empty."""
    uploaded.refuse(2, "unreadable_row", raw=f'=1+1;"{NAME}')
    (row,) = await uploaded.report()
    assert (row["raw"], row["reason"], row["field"], row["ID"]) == (
        f"'=1+1;\"{NAME}", "unreadable_row", "", ""
    )  # fmt: skip


async def test_what_the_reader_said_of_a_row_is_told(uploaded: Uploaded) -> None:
    """Beside its reason, not beside another one; a row of an older version has the reason's own words."""
    uploaded.refuse(2, "unreadable_row", "unknown_dataset", raw=NAME, details="7 cells, the header has 5")
    uploaded.refuse(3, "unreadable_row", raw=NAME)
    assert [(row["line"], row["detail"]) for row in await uploaded.report()] == [
        ("2", "7 cells, the header has 5"),
        ("2", "the organisation has no such dataset; the row is replayed when it has"),
        ("3", "the row could not be read"),
    ]


async def test_no_cell_is_a_formula(uploaded: Uploaded) -> None:
    """Cells and columns that a spreadsheet would run begin with an apostrophe."""

    def name() -> None:
        with uploaded.api.running.db.write() as session:
            session.execute(update(Upload).values(columns=["ID", "=cmd"]))

    await asyncio.to_thread(name)
    uploaded.refuse(2, "missing:METER_ID", ID="=HYPERLINK(1)", custom={"=cmd": "@SUM(1)"})
    answer = await uploaded.api.http.get(uploaded.path)
    assert answer.text.splitlines()[0].startswith("ID,'=cmd,line")
    assert answer.text.splitlines()[1].startswith("'=HYPERLINK(1),'@SUM(1),2")


async def test_it_tells_what_is_refused_now(uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose replay was accepted is gone, one refused again is as sent; a redelivery is no row."""
    monkeypatch.setattr(report, "PAGE", 2)
    for line in (2, 3, 4, 5, 6):
        at = uploaded.refuse(line, "missing:METER_ID")
        if line == 3:
            uploaded.refuse(line, "missing:METER_ID")
        if line == 4:
            topic = f"x/{uploaded._quarantine._prefix}payments/0"
            uploaded.judge(topic, at + (1 << 50), "accepted", [], 4, at)
        if line == 5:
            uploaded.refuse(line, "bad_decimal:PAYMENT_AMOUNT", replay_of=at, PAYMENT_AMOUNT="y")
    found = [(row["line"], row["reason"], row["PAYMENT_AMOUNT"]) for row in await uploaded.report()]
    assert found == [
        ("2", "missing", "x"), ("3", "missing", "x"), ("5", "missing", "x"), ("6", "missing", "x")
    ]  # fmt: skip


async def test_a_row_that_waited_has_the_faults_that_were_found_then(uploaded: Uploaded) -> None:
    """Nobody corrected it, and what it waited for is there: its cells as sent, its faults of now."""
    at = uploaded.refuse(2, "unknown_dataset")
    at = uploaded.refuse(2, "unknown_organization", replay_of=at)
    uploaded.refuse(2, "bad_decimal:PAYMENT_AMOUNT", replay_of=at)
    (row,) = await uploaded.report()
    assert (row["reason"], row["field"], row["PAYMENT_AMOUNT"]) == ("bad_decimal", "PAYMENT_AMOUNT", "x")


async def test_a_correction_of_a_correction_is_not_what_was_sent(uploaded: Uploaded) -> None:
    """However often a row was sent again: the report helps to mend the file."""
    at = uploaded.refuse(2, "missing:METER_ID", METER_ID="")
    at = uploaded.refuse(2, "bad_decimal:PAYMENT_AMOUNT", replay_of=at, PAYMENT_AMOUNT="y", CUSTOMER_NAME="Z")
    uploaded.refuse(2, "bad_timestamp:TIMESTAMP", replay_of=at, TIMESTAMP="z")
    (row,) = await uploaded.report()
    assert (row["reason"], row["METER_ID"], row["PAYMENT_AMOUNT"], row["CUSTOMER_NAME"]) == (
        "missing", "", "x", NAME
    )  # fmt: skip


async def test_each_download_is_in_the_audit(uploaded: Uploaded) -> None:
    """Who, what, and never a value; an unknown upload is 404 and no deed."""
    uploaded.refuse(2, "missing:METER_ID")
    assert len(await uploaded.report()) == 1
    (entry,) = await audited(uploaded.api, action="upload.originals_opened")
    assert (entry["subject"], entry["organization_id"]) == (uploaded.id, uploaded.owner)
    assert NAME not in orjson.dumps(entry).decode()
    assert_problem(await uploaded.api.http.get("/v1/uploads/upl_x/errors.csv"), 404, "not_found")
    assert len(await audited(uploaded.api, action="upload.originals_opened")) == 1


async def test_a_seal_of_another_secret_is_told(uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other rows are shown; this one says why it is not."""
    uploaded.refuse(2, "missing:METER_ID")
    with monkeypatch.context() as patch:
        patch.setattr("refused.SEALER", Sealer(b"1" * 32))
        uploaded.refuse(3, "missing:METER_ID")
    fine, closed = await uploaded.report()
    assert fine["CUSTOMER_NAME"] == NAME
    assert (closed["ID"], closed["line"]) == ("", "3")
    assert "sealed under another secret" in closed["detail"]


async def test_a_file_level_error_is_the_one_line(uploaded: Uploaded) -> None:
    """An upload that failed as a whole has no rows; its report says why."""

    def fail() -> None:
        with uploaded.api.running.db.write() as session:
            session.execute(update(Upload).values(state="failed", error="bad_header", detail="=no"))

    await asyncio.to_thread(fail)
    (row,) = await uploaded.report()
    assert (row["line"], row["reason"], row["detail"]) == ("", "bad_header", "'=no")


async def test_counts_and_report_agree(uploaded: Uploaded) -> None:
    """Rows counted as quarantined are those of the report; `done` when each received row has its outcome."""
    uploaded.refuse(2, "missing:METER_ID", "missing:CUSTOMER_ID")
    uploaded.refuse(3, "unreadable_row", raw="x")

    def publish() -> None:
        with uploaded.api.running.db.write() as session:
            upload = session.query(Upload).one()
            upload.state = "published"
            session.add(RunFile(id="fil_1", run_id=upload.run_id, dataset_id=upload.dataset_id,
                                source="upload", source_ref=uploaded.lineage["source_ref"], ref_hash="x",
                                state="done", claimed_at=upload.created_at, received=2))  # fmt: skip

    await asyncio.to_thread(publish)
    shown = (await uploaded.api.http.get(f"/v1/uploads/{uploaded.id}")).json()
    assert (shown["state"], shown["received"], shown["quarantined"]) == ("done", 2, 2)
    assert {row["line"] for row in await uploaded.report()} == {"2", "3"}


async def test_a_store_that_is_away_is_503(make_api: MakeApi, brokered: ApiParts) -> None:
    """Nothing is sent before the first rows are there."""
    api = await make_api(brokered)
    await api.log_in()
    made = await accepted(api, await api.project(), table([{**PAYMENT, "Colour": ""}]))
    assert_problem(await api.http.get(f"/v1/uploads/{made['id']}/errors.csv"), 503, "store_away")


async def test_a_dry_run_keeps_nothing(whole_api: Api) -> None:
    """200 with the report of the same validation; neither file, nor dataset, nor row is kept."""
    project = await whole_api.project()
    rows = [{**PAYMENT, "PAYMENT_AMOUNT": amount} for amount in ("1", "1", "x")]
    answer = await send(whole_api, project, table(rows), dry_run="true")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["file"], told["profile"], told["rows"], told["ok"], told["bad"]) == (
        "ELECTRICITY_PAYMENT.csv", "upload", 3, 2, 1
    )  # fmt: skip
    assert told["outcomes"] == {"accepted": 1, "duplicate": 1, "conflict": 0, "quarantined": 1}
    assert told["errors"][0] | {"detail": ""} == {
        "line": 4, "field": "PAYMENT_AMOUNT", "code": "bad_decimal", "detail": ""
    }  # fmt: skip
    assert NAME not in answer.text
    headless = await send(whole_api, project, b"ID\n1\n", dry_run="true")
    assert headless.json()["file_error"]["code"] == "bad_header"
    assert_problem(await send(whole_api, project, b"", name="x.csv", dry_run="true"), 422, "invalid")
    nobodys = await send(whole_api, None, b"", organization_id=project["organization_id"], dry_run="true")
    assert_problem(nobodys, 422, "invalid")
    assert left(whole_api) == []
    for path in ("uploads", "datasets", "runs"):
        assert (await whole_api.http.get(f"/v1/{path}")).json()["items"] == []


async def test_a_dry_run_warns_of_sheets_that_are_not_read(whole_api: Api) -> None:
    """Beside the rows of the first one, which are judged."""
    project, rows = await whole_api.project(), [{**PAYMENT, "PAYMENT_AMOUNT": "1"}]
    for more, warned in (((), []), (("June",), ["further_sheets"])):
        data = workbook(rows, *more)
        told = (await send(whole_api, project, data, name=WORKBOOK, dry_run="true")).json()
        assert (told["rows"], told["ok"], [one["code"] for one in told["warnings"]]) == (1, 1, warned)
