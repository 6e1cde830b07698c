"""Google Sheets from the double to the topic: what is read, under which names, what receipts say of it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
import time_machine
from google_double import EMAIL, Refused, broken, expired, quota
from s3_world import ORG, SEAL_SECRET, Death, Fate, Seen
from sheet_world import SheetWorld, payment_row, payments

from producers import google_http
from producers.bulk import Bulk
from producers.contracts import FileRecord, FileState, RunState
from producers.errors import BrokerUnavailable
from producers.publisher import Publisher
from producers.sheets import NO_SHEETS
from schemas.identity import partition_of, payment_key
from schemas.outcomes import Code
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Sealer


def contents(seen: list[Seen], source_ref: str) -> dict[int, tuple[str, Any]]:
    """Key and value by line of the records of one reading."""
    return {
        record.where[1]: (record.key, record.value)
        for record in seen
        if record.headers["source_ref"] == source_ref
    }


def files(world: SheetWorld) -> list[tuple[str, FileState, int, str | None]]:
    """What is on record, in order: the end of the name, state, rows, error."""
    return [(_name(world, file), file.state, file.received, file.error) for file in world.store.files]


def _name(world: SheetWorld, file: FileRecord) -> str:
    assert file.source_ref.startswith(f"sheet://{world.prefix}/")
    return re.sub(r"run_\d+", "run", file.source_ref.removeprefix(f"sheet://{world.prefix}/"))


def test_rows_become_records(sheets: SheetWorld) -> None:
    """Each row is one record with its lineage and its number in the sheet, valid, nothing personal in it."""
    sheets.write([["Payments of Site Name, May"], [], *payments(1200), [], payment_row(1201)])
    with structlog.testing.capture_logs() as logs:
        assert sheets.run() == (RunState.DONE, None)
    (file,) = sheets.store.files
    assert files(sheets) == [("Payments@run", FileState.DONE, 1201, None)]
    seen = sheets.seen()
    assert sorted(record.where[1] for record in seen) == [*range(4, 1204), 1205]
    assert {record.headers["source_ref"] for record in seen} == {file.source_ref}
    first = next(record for record in seen if record.where[1] == 4)
    assert first.headers["source"] == "sheet"
    assert (first.headers["organization_id"], first.headers["dataset_id"]) == (ORG, "ds_1")
    assert first.key == payment_key(ORG, "crm", "UC1")
    assert first.partition == partition_of(first.key, 4)
    assert first.value["TIMESTAMP"] == "2024-05-16T14:00:01"
    assert (first.value["PAYMENT_AMOUNT"], first.value["METER_ID"]) == ("5000.25", "001")
    batch = PaymentValidator().validate([one.value for one in seen], [PaymentContext("sheet")] * len(seen))
    assert batch.errors == {}
    original = Sealer(SEAL_SECRET).open(ORG, first.headers["sealed"])
    assert b"Jane Doe 1" in original
    assert b"2348030000001" in original
    said = str(logs) + str([(one.value, one.key) for one in seen]) + str(sheets.store.files)
    assert not any(word in said for word in ("Jane", "2348030"))


def test_a_second_reading_is_the_same_rows_again(sheets: SheetWorld) -> None:
    """Read anew every time under a new name: the same keys and values, so that all are duplicates."""
    sheets.write(payments(300))
    for _ in range(2):
        assert sheets.run() == (RunState.DONE, None)
    first, second = sheets.store.files
    assert first.source_ref != second.source_ref
    assert first.content_hash == second.content_hash
    assert len(first.content_hash or "") == 64
    seen = sheets.seen()
    assert len(seen) == 600
    assert contents(seen, first.source_ref) == contents(seen, second.source_ref)
    sheets.book.sheets[0].rows[2][2] = 17
    sheets.run()
    assert sheets.store.files[2].content_hash != first.content_hash


def test_daily_and_on_demand(sheets: SheetWorld) -> None:
    """A daily dataset is read when somebody asks, and once a day by itself."""
    sheets.use(schedule="daily")
    sheets.write(payments(3))
    assert sheets.poller(jitter=timedelta(0)).poll() == 0
    sheets.store.request("ds_1")
    assert sheets.poller(jitter=timedelta(0)).poll() == 1
    now = datetime.now(UTC)
    for hours, runs in ((25, 1), (25, 0), (50, 1)):
        with time_machine.travel(now + timedelta(hours=hours), tick=True):
            assert sheets.poller(jitter=timedelta(0)).poll() == runs
    assert [state for _, state, _, _ in files(sheets)] == [FileState.DONE] * 3
    assert len(sheets.seen()) == 9


def test_every_visible_sheet_has_a_receipt(sheets: SheetWorld) -> None:
    """Without ranges all visible sheets are read, each for itself; one that is no table stops none."""
    sheets.write(payments(5), "May")
    sheets.write([["Read me"], ["call Jane Doe"]], "Notes")
    sheets.write(payments(5, first=50), "Old", hidden=True)
    sheets.write(payments(4, first=100), "Q2")
    assert sheets.run() == (RunState.DONE, "1 of 3 ranges could not be read; their files say why")
    assert files(sheets) == [
        ("May@run", FileState.DONE, 5, None),
        ("Notes@run", FileState.DONE, 0, Code.BAD_HEADER),
        ("Q2@run", FileState.DONE, 4, None),
    ]
    assert "none of the first 2 rows" in (sheets.store.files[1].detail or "")
    assert "Jane" not in str(sheets.store.files)
    assert len(sheets.seen()) == 9


def test_ranges_are_read_one_after_the_other(sheets: SheetWorld) -> None:
    """Named ranges, open columns, hidden sheets that are named; one that is none is refused by name."""
    wide = [["", ""], *[["", "", *row] for row in payments(3)]]
    sheets.write(wide, "It's May")
    sheets.write(payments(2, first=50), "Q1", hidden=True)
    sheets.book.named["JUNE"] = "Q1!A1:J2"
    sheets.use("'It''s May'!C2:L", "Q1", "JUNE", "Paymnts!A:B", "Q1")
    assert sheets.run() == (RunState.DONE, "1 of 4 ranges could not be read; their files say why")
    assert files(sheets) == [
        ("'It''s May'!C2:L@run", FileState.DONE, 3, None),
        ("Q1@run", FileState.DONE, 2, None),
        ("JUNE@run", FileState.DONE, 1, None),
        ("Paymnts!A:B@run", FileState.DONE, 0, Code.WRONG_NAME),
    ]
    assert sorted(record.where[1] for record in sheets.seen()) == [2, 2, 3, 3, 4, 5]


def test_rows_that_cannot_be_read_are_received(sheets: SheetWorld) -> None:
    """A formula error quarantines its row, with its text sealed; the other rows are not held up."""
    rows = payments(3)
    rows[2][6] = "#N/A"
    sheets.write(rows)
    assert sheets.run() == (RunState.DONE, None)
    assert files(sheets) == [("Payments@run", FileState.DONE, 3, None)]
    (broken_row,) = [record for record in sheets.seen() if "unreadable" in record.headers]
    assert broken_row.headers["unreadable"] == Code.UNREADABLE_ROW
    assert broken_row.where[1] == 3
    assert broken_row.value == {}
    raw = Sealer(SEAL_SECRET).open(ORG, broken_row.headers["sealed"]).decode()
    assert raw.split("\t")[:2] == ["UC2", "2024-05-16T14:00:02"]
    assert "#N/A" in raw


def test_quotas_and_expired_tokens_in_the_middle(sheets: SheetWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large sheet meets 429s, a broken connection and a token's end between its windows: every row once."""
    monkeypatch.setattr("producers.sheet_ranges.ROWS_AT_ONCE", 500)
    sheets.write(payments(2500))
    sheets.google.trouble.extend([None, None, quota(), quota(), None, expired, None, broken, None])
    assert sheets.run() == (RunState.DONE, None)
    assert files(sheets) == [("Payments@run", FileState.DONE, 2500, None)]
    assert sorted(record.where[1] for record in sheets.seen()) == list(range(2, 2502))
    assert sheets.google.issued == 2


def test_a_reading_that_breaks_off_is_counted_and_replaced(
    sheets: SheetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was published of it stays on its receipt; the same run reads anew under another name."""
    monkeypatch.setattr("producers.sheet_ranges.ROWS_AT_ONCE", 500)
    monkeypatch.setattr(google_http, "ATTEMPTS", 2)
    sheets.write(payments(2400))
    sheets.google.trouble.extend([None, None, None, None, broken, broken])
    assert sheets.run() == (RunState.DONE, None)
    assert files(sheets) == [
        ("Payments@run", FileState.REPLACED, 1000, None),
        ("Payments@run.2", FileState.DONE, 2400, None),
    ]
    seen = sheets.seen()
    counts = [len(contents(seen, file.source_ref)) for file in sheets.store.files]
    assert counts == [1000, 2400]


def test_a_sheet_that_shrinks_while_it_is_read(sheets: SheetWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were taken away between two requests: it is read anew, and each receipt counts its own."""
    monkeypatch.setattr("producers.sheet_ranges.ROWS_AT_ONCE", 1000)
    sheet = sheets.write(payments(2500))

    def shrink(number: int) -> None:
        if number == 3:
            del sheet.rows[1500:]

    sheets.google.before_values = shrink
    assert sheets.run() == (RunState.DONE, None)
    assert files(sheets) == [
        ("Payments@run", FileState.REPLACED, 1000, None),
        ("Payments@run.2", FileState.DONE, 1499, None),
    ]


def test_a_sheet_that_never_stands_still(sheets: SheetWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is renamed during every reading fails the run, which says so."""
    monkeypatch.setattr("producers.sheet_ranges.ROWS_AT_ONCE", 100)
    sheet = sheets.write(payments(250))

    def rename(number: int) -> None:
        if number % 2 == 0:
            sheet.title = f"Payments {number}"

    sheets.google.before_values = rename
    state, detail = sheets.run()
    assert state is RunState.FAILED
    assert (detail or "").startswith("the sheet changes faster than it is read")
    assert len(sheets.store.files) == 5


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda world: world.book.readers.clear(), f"share it with {EMAIL} as a viewer"),
        (lambda world: world.google.books.clear(), "there is no spreadsheet with this id"),
        (lambda world: world.write([], "Hidden", hidden=True), None),
    ],
)
def test_runs_that_find_nothing_say_why(sheets: SheetWorld, prepare: Any, words: str | None) -> None:
    """Not shared, gone, or nothing visible in it: the run says so, and leaves no receipt."""
    prepare(sheets)
    state, detail = sheets.run()
    if words is None:
        assert (state, detail) == (RunState.DONE, "the spreadsheet has no visible sheet")
    else:
        assert state is RunState.FAILED
        assert words in (detail or "")
        assert sheets.prefix not in (detail or "")
    assert sheets.store.files == []


def test_an_installation_without_an_account_says_so(sheets: SheetWorld) -> None:
    """The run fails with what the operator has to set; nobody is asked."""
    state, detail = sheets.run(sheets=NO_SHEETS)
    assert state is RunState.FAILED
    assert (detail or "").startswith("this installation has no service account for Google Sheets")
    assert "SUNLEDGER_GOOGLE_CREDENTIALS_FILE" in (detail or "")
    assert sheets.google.asked == []


def test_sharing_that_ends_between_windows(sheets: SheetWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run fails with its rows on record; the next one ends that reading, whatever becomes of itself."""
    monkeypatch.setattr("producers.sheet_ranges.ROWS_AT_ONCE", 1000)
    sheets.write(payments(2500))

    def unshare(number: int) -> None:
        if number == 3:
            sheets.book.readers.clear()
            raise Refused(403, "PERMISSION_DENIED", "The caller does not have permission")

    sheets.google.before_values = unshare
    state, detail = sheets.run()
    assert state is RunState.FAILED
    assert f"share it with {EMAIL} as a viewer" in (detail or "")
    assert files(sheets) == [("Payments@run", FileState.CLAIMED, 1000, None)]
    assert sheets.run()[0] is RunState.FAILED
    assert files(sheets) == [("Payments@run", FileState.REPLACED, 1000, None)]
    sheets.book.readers.add(EMAIL)
    assert sheets.run() == (RunState.DONE, None)
    assert files(sheets) == [
        ("Payments@run", FileState.REPLACED, 1000, None),
        ("Payments@run", FileState.DONE, 2500, None),
    ]
    seen = sheets.seen()
    assert [len(contents(seen, file.source_ref)) for file in sheets.store.files] == [1000, 2500]


def test_death_at_any_step_loses_and_miscounts_nothing(sheets: SheetWorld) -> None:
    """Killed before and after each step, the run goes on: each reading that ends has every row once."""
    sheets.write(payments(5), "A")
    sheets.write([["none"]], "B")
    fate = Fate()
    assert sheets.run(fate)[0] is RunState.DONE
    changing = ("claim", "advance", "finish", "of")
    steps = [at for at, name in enumerate(fate.steps, 1) if name.split()[1] in changing]
    assert len(steps) > 10
    for at in steps:
        sheets.begin(f"{at}")
        sheets.write(payments(5), "A")
        sheets.write([["none"]], "B")
        run = sheets.store.request("ds_1")
        with pytest.raises(Death):
            sheets.poller(Fate(at)).poll()
        sheets.lose_publishers()
        sheets.store.expire()
        sheets.poller().poll()
        assert sheets.store.run_state(run)[0] is RunState.DONE, fate.steps[at - 1]
        read = [file for file in files(sheets) if file[1] is not FileState.REPLACED]
        assert [(name[:5], *end) for name, *end in read] == [
            ("A@run", FileState.DONE, 5, None),
            ("B@run", FileState.DONE, 0, Code.BAD_HEADER),
        ], fate.steps[at - 1]
        (done,) = [file.source_ref for file in sheets.store.files if file.received]
        lines = [record.where[1] for record in sheets.seen() if record.headers["source_ref"] == done]
        assert sorted(lines) == [2, 3, 4, 5, 6], fate.steps[at - 1]


def test_a_sheet_that_changed_while_its_poller_was_dead(sheets: SheetWorld) -> None:
    """A row was put on top meanwhile: no line of one reading holds two payments."""
    sheets.write(payments(5))
    fate = Fate()
    sheets.run(fate)
    acknowledged = fate.steps.index("before advance") + 1
    sheets.begin("changed")
    sheet = sheets.write(payments(5))
    run = sheets.store.request("ds_1")
    with pytest.raises(Death):
        sheets.poller(Fate(acknowledged)).poll()
    sheets.lose_publishers()
    sheet.rows.insert(1, payment_row(77))
    sheets.store.expire()
    sheets.poller().poll()
    assert sheets.store.run_state(run)[0] is RunState.DONE
    assert files(sheets)[-1] == ("Payments@run.2", FileState.DONE, 6, None)
    assert len(contents(sheets.seen(), sheets.store.files[-1].source_ref)) == 6


def test_a_reading_of_an_older_run_is_over(sheets: SheetWorld) -> None:
    """A reading that a dead run left behind ends as replaced, and what is read has names of its own."""
    sheets.write(payments(5))
    older = sheets.store.request("ds_1")
    assert sheets.store.next_requested(60) is not None
    left = sheets.store.claim(older, "ds_1", "sheet", f"sheet://{sheets.prefix}/Payments@{older}")
    sheets.store.finish(older, RunState.FAILED)
    assert sheets.run() == (RunState.DONE, None)
    ended, read = sheets.store.files
    assert (ended.id, ended.state) == (left.id, FileState.REPLACED)
    assert (read.state, read.received) == (FileState.DONE, 5)


def test_a_broker_that_fails_in_the_middle(sheets: SheetWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range is read anew under another name: the sheet may have changed meanwhile."""
    sheet = sheets.write(payments(5))
    wait, failed = Bulk.wait, []

    def fails_once(self: Bulk, timeout_s: float) -> int:
        received = wait(self, timeout_s)
        if not failed:
            failed.append(received)
            sheet.rows.insert(1, payment_row(77))
            raise BrokerUnavailable("away")
        return received

    monkeypatch.setattr(Bulk, "wait", fails_once)
    assert sheets.run() == (RunState.DONE, None)
    assert files(sheets) == [
        ("Payments@run", FileState.REPLACED, 0, None),
        ("Payments@run.2", FileState.DONE, 6, None),
    ]
    seen = sheets.seen()
    assert [len(contents(seen, file.source_ref)) for file in sheets.store.files] == [5, 6]


def test_a_broker_that_is_away_is_waited_for(sheets: SheetWorld) -> None:
    """Nothing was read yet: its name stays."""
    sheets.write(payments(1500))

    class Failing(Publisher):
        failures = 2

        def partitions(self, topic: str) -> int:
            if self.failures:
                self.failures -= 1
                raise BrokerUnavailable("away")
            return super().partitions(topic)

    publisher = Failing(sheets.kafka)
    try:
        assert sheets.run(publisher=publisher) == (RunState.DONE, None)
    finally:
        publisher.close()
    assert files(sheets) == [("Payments@run", FileState.DONE, 1500, None)]


def test_a_paused_dataset_goes_on_anew(sheets: SheetWorld) -> None:
    """The brake pauses it in the middle of a sheet: the run fails, the receipt counts what was sent."""
    sheets.write(payments(7000))
    dataset = sheets.dataset

    def unjudged() -> int:
        sheets.datasets.datasets = []
        return 10**9

    state, detail = sheets.run(unjudged=unjudged)
    assert state is RunState.FAILED
    assert "paused while a file was published" in (detail or "")
    (file,) = sheets.store.files
    assert file.state is FileState.CLAIMED
    assert 0 < file.received < 7000
    sheets.datasets.datasets = [replace(dataset)]
    assert sheets.run() == (RunState.DONE, None)
    assert files(sheets) == [
        ("Payments@run", FileState.REPLACED, file.received, None),
        ("Payments@run", FileState.DONE, 7000, None),
    ]
