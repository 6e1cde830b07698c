"""Cells of a spreadsheet to texts, ranges, and the rows of a table among titles and empty rows."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sheet_world import SHEET_HEADER, payment_row

from producers.errors import FileRefused
from producers.header import HEADER_WITHIN
from producers.sheet_cells import cell_text, moment_text, number_text
from producers.sheet_ranges import Area
from producers.sheet_rows import open_sheet
from producers.sheets import Cells, Window
from producers.table_rows import TableRow, UnreadableRow
from schemas.fields import BY_NAME, PROFILES, Kind
from schemas.outcomes import Code
from schemas.payments import PaymentContext, PaymentValidator

HEADER = [*SHEET_HEADER]
BEGIN = datetime(1899, 12, 30)


def cells(number: int = 1, **changes: Any) -> list[Any]:
    """A good row as the API gives it."""
    row = [
        (cell - BEGIN).total_seconds() / 86_400 if isinstance(cell, datetime) else cell
        for cell in payment_row(number)
    ]
    for name, value in changes.items():
        row[HEADER.index(name)] = value
    return row


def windows(rows: list[Cells], first: int = 1, size: int = 1000) -> Iterator[Window]:
    """The rows in windows, without empty cells and rows at the ends, as the API leaves them out."""
    for at in range(0, max(len(rows), 1), size):
        part = [list(row) for row in rows[at : at + size]]
        for row in part:
            while row and row[-1] in ("", None):
                row.pop()
        while part and not part[-1]:
            part.pop()
        yield first + at, part


def read(rows: list[Cells], first: int = 1, size: int = 1000, profile: str = "sheet") -> list[Any]:
    """All rows of a range."""
    table = open_sheet(lambda: windows(rows, first, size), lambda: windows(rows, first, size), profile)
    return [row for batch in table.batches() for row in batch]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (45987, "id", "45987"),
        (45987.0, "id", "45987"),
        ("00045987", "id", "00045987"),
        (1001.5, "id", "1001.5"),
        (999_999_999_999_999, "id", "999999999999999"),
        (5000, "decimal", "5000"),
        (5000.0, "decimal", "5000"),
        (-500, "decimal", "-500"),
        (0.1, "decimal", "0.1"),
        (-0.0, "decimal", "0"),
        (1234.56, "decimal", "1234.56"),
        (12345678901234.56, "decimal", "12345678901234.56"),
        (107.50000000000001, "decimal", "107.5"),
        (0.1 + 0.2, "decimal", "0.3"),
        (100 / 3, "decimal", "33.3333333333333"),
        (1e15, "decimal", "1000000000000000"),
        (1e23, "decimal", "100000000000000000000000"),
        (1e-7, "decimal", "0.0000001"),
        ("5 000,50", "decimal", "5 000,50"),
        (True, "text", "TRUE"),
        (False, None, "FALSE"),
        (None, "note", ""),
        (44332.59445601852, "timestamp", "2021-05-16T14:16:01"),
        (44332, "timestamp", "2021-05-16T00:00:00"),
        (44332.000000011574, "timestamp", "2021-05-16T00:00:00.001"),
        ("2021-05-16T14:16:01Z", "timestamp", "2021-05-16T14:16:01Z"),
        (2021, "timestamp", "2021"),
        (0.594456, "timestamp", "0.594456"),
        (1621174561, "timestamp", "1621174561"),
        (20210516, "timestamp", "20210516"),
        (44332.5, None, "44332.5"),
        (2348030000001, "phone", "2348030000001"),
        ("+2348030000001", "phone", "+2348030000001"),
        (234803000000123456, "phone", "2.34803000000123456E+17"),
        (2.34803e21, "phone", "2.34803E+21"),
        (80300000.5, "phone", "8.03000005E+7"),
    ],
)
def test_values_become_exact_texts(value: Any, kind: Kind | None, text: str) -> None:
    """Whole numbers have no point, none has an exponent, dates are ISO 8601, texts stay as they are."""
    assert cell_text(value, kind) == text


@settings(deadline=None)
@given(st.decimals(min_value=-(10**12), max_value=10**12, places=3))
def test_an_amount_is_what_was_entered(amount: Decimal) -> None:
    """Fifteen digits of a decimal come through the spreadsheet's binary number and back."""
    assert Decimal(number_text(float(amount))) == amount


@settings(deadline=None)
@given(
    st.integers(
        min_value=0, max_value=int((datetime(2300, 1, 1) - datetime(1970, 1, 1)).total_seconds()) - 1
    ),
    st.integers(min_value=0, max_value=999),
)
def test_a_moment_survives_being_a_number_of_days(seconds: int, ms: int) -> None:
    """Every millisecond from 1970 to 2299 comes back from its fraction of a day."""
    moment = datetime(1970, 1, 1) + timedelta(seconds=seconds, milliseconds=ms)
    days = (moment - BEGIN) / timedelta(days=1)
    assert datetime.fromisoformat(moment_text(days)) == moment


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"CUSTOMER_PHONE": 2.34803e21}, "CUSTOMER_PHONE", Code.BAD_PHONE),
        ({"CUSTOMER_PHONE": 80300000.5}, "CUSTOMER_PHONE", Code.BAD_PHONE),
        ({"TIMESTAMP": 2021}, "TIMESTAMP", Code.BAD_TIMESTAMP),
        ({"TIMESTAMP": 0.594456}, "TIMESTAMP", Code.BAD_TIMESTAMP),
        ({"PAYMENT_AMOUNT": 100 / 3}, "PAYMENT_AMOUNT", Code.OUT_OF_RANGE),
        ({"PAYMENT_AMOUNT": "₦5,000.00"}, "PAYMENT_AMOUNT", Code.BAD_DECIMAL),
        ({"PAYMENT_AMOUNT": True}, "PAYMENT_AMOUNT", Code.BAD_DECIMAL),
        ({"METER_ID": "N/A"}, "METER_ID", Code.MISSING),
        ({"TRANSACTION_TYPE": 5}, "TRANSACTION_TYPE", Code.UNKNOWN_TYPE),
    ],
)
def test_what_a_spreadsheet_spoilt_is_refused(changes: dict[str, Any], field: str, code: Code) -> None:
    """Lost digits, years for dates, currency signs: the one validation names field and reason."""
    (row,) = read([HEADER, cells(**changes)])
    batch = PaymentValidator().validate([row.cells], [PaymentContext("sheet")])
    assert [(error.field, error.code) for error in batch.errors[0]] == [(field, code)]


def test_a_good_row_is_good() -> None:
    """Dates as days, numbers as ids and telephone numbers: valid, with the moment and amount meant."""
    (row,) = read([HEADER, cells()])
    batch = PaymentValidator().validate([row.cells], [PaymentContext("sheet")])
    assert batch.errors == {}
    assert batch.columns["id"] == ["UC1"]
    assert batch.columns["payment_amount"] == [Decimal("5000.25")]
    assert batch.columns["timestamp"] == [1_715_868_001_000]
    assert batch.columns["meter_id"] == ["001"]
    assert batch.columns["customer_id"] == ["45988"]


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#DIV/0!", "#NAME?", "#ERROR!", "Loading..."])
@pytest.mark.parametrize("name", ["METER_ID", "PAYMENT_AMOUNT", "NOTES"])
def test_a_formula_error_is_a_fault_of_its_row(error: str, name: str) -> None:
    """It is no meter and no amount: the row is unreadable, its text kept, the others are read."""
    good, bad, last = read([HEADER, cells(1), cells(2, **{name: error}), cells(3)])
    assert isinstance(bad, UnreadableRow)
    assert (good.line, bad.line, last.line) == (2, 3, 4)
    assert bad.code is Code.UNREADABLE_ROW
    assert bad.detail == f"column {HEADER.index(name) + 1}: a formula ended in an error, or has not ended"
    assert error in bad.raw
    assert bad.raw.startswith("UC2\t2024-05-16T14:00:02\t")


def test_an_id_that_lost_digits_is_a_fault_of_its_row() -> None:
    """Beyond 15 digits a spreadsheet gives several ids the same number: none is taken for another."""
    (row,) = read([HEADER, cells(ID=1234567890123456)])
    assert isinstance(row, UnreadableRow)
    assert row.detail == "column 1: a number of more than 15 digits where an id is expected"
    (row,) = read([HEADER, cells(ID="1234567890123456789")])
    assert row.cells["ID"] == "1234567890123456789"


def test_lines_are_the_sheets_own() -> None:
    """Titles above, empty rows between, an offset of the range: each row has its number in the sheet."""
    rows: list[Cells] = [["Payments of Site Name"], [], ["", "Status", True], HEADER, []]
    rows += [cells(1)[:9], ["", " "], cells(2), [], [False, None, "", False], cells(3)]
    found = read(rows, first=11)
    assert [row.line for row in found] == [16, 18, 21]
    assert [row.cells["ID"] for row in found] == ["UC1", "UC2", "UC3"]
    assert "NOTES" not in found[0].cells


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=30), st.data())
def test_windows_do_not_matter(size: int, data: st.DataObject) -> None:
    """However a range is cut into requests, the same rows come out of it, with the same numbers."""
    kinds = data.draw(st.lists(st.sampled_from(["good", "empty", "error", "short"]), max_size=25))
    made = {
        "good": cells,
        "empty": lambda at: [],
        "error": lambda at: cells(at, METER_ID="#N/A"),
        "short": lambda at: cells(at)[:4],
    }
    rows = [["A title"], [], HEADER, *(made[kind](at) for at, kind in enumerate(kinds))]
    whole = read(rows)
    assert read(rows, size=size) == whole
    assert [row.line for row in whole] == [at for at, kind in enumerate(kinds, 4) if kind != "empty"]


def test_cells_beyond_the_header_are_a_fault() -> None:
    """As in a file: what stands beside the table cannot be told from a row that slipped."""
    beside = [*cells(2), "", "", "remark"]
    first, second = read([HEADER, [*cells(1), "", False], beside])
    assert isinstance(first, TableRow)
    assert isinstance(second, UnreadableRow)
    assert second.detail == "column 13: a cell beyond the header's 10"


def test_unknown_columns_are_kept() -> None:
    """A column that is no field goes under `custom`, as exact text."""
    (row,) = read([[*HEADER, "Site", "Paid"], [*cells(), 12.50, True]])
    assert row.cells["custom"] == {"Site": "12.5", "Paid": "TRUE"}


def test_decimal_commas_are_decided_as_in_a_file() -> None:
    """Amounts that were entered as texts with commas are read when all of them are decimal commas."""
    rows = [HEADER, cells(1, PAYMENT_AMOUNT="5000,50"), cells(2, PAYMENT_AMOUNT="17,5")]
    assert [row.cells["PAYMENT_AMOUNT"] for row in read(rows)] == ["5000.50", "17.5"]
    rows.append(cells(3, PAYMENT_AMOUNT="1,234"))
    assert [row.cells["PAYMENT_AMOUNT"] for row in read(rows)] == ["5000,50", "17,5", "1,234"]


@pytest.mark.parametrize(
    ("rows", "code", "detail"),
    [
        ([], Code.EMPTY_FILE, "the range is empty: expected a row with column names"),
        ([[], ["", " "], []], Code.EMPTY_FILE, "the range is empty: expected a row with column names"),
        ([["Jane Doe", 5]], Code.BAD_HEADER, "none of the first 1 rows that are not empty has a column name"),
        ([["A title"], HEADER[1:], []], Code.BAD_HEADER, "line 2: column 'ID' is missing"),
        ([[" ID", *HEADER[1:]]], Code.BAD_HEADER, "line 1: column 1: found ' ID', expected 'ID'"),
        ([["id", *HEADER[1:]]], Code.BAD_HEADER, "line 1: column 1: found 'id', expected 'ID'"),
        ([[*HEADER, "ID"]], Code.BAD_HEADER, "line 1: columns 1 and 11 have the same name 'ID'"),
        ([["", *HEADER]], Code.BAD_HEADER, "line 1: column 1 has no name"),
        ([*[["title"]] * HEADER_WITHIN, HEADER], Code.BAD_HEADER, "none of the first 20 rows"),
    ],
)
def test_header_errors_name_the_row(rows: list[Cells], code: Code, detail: str) -> None:
    """What was found, what is expected and in which row; nothing of a row that is no header."""
    with pytest.raises(FileRefused) as refused:
        read(rows)
    assert refused.value.code is code
    assert refused.value.detail.startswith(detail)
    assert "Jane" not in refused.value.detail


def test_header_only_is_no_row() -> None:
    """A sheet that nobody has written into yet is read, and has no rows."""
    assert read([["Title"], HEADER]) == []


def test_all_profiles_fields_have_kinds() -> None:
    """Every required field is one whose values this module knows how to write."""
    assert {BY_NAME[name].kind for name in PROFILES["sheet"]} <= {
        "id", "timestamp", "decimal", "currency", "type", "note", "phone",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "area", "window"),
    [
        ("Sheet1!A1:Z1000", Area("Sheet1", 1, 1000, 1, 26), "'Sheet1'!A5:Z6"),
        ("'It''s ours'!AA3:AB9", Area("It's ours", 3, 9, 27, 28), "'It''s ours'!AA5:AB6"),
        ("'a!b'!ZZZ10000000", Area("a!b", 10_000_000, 10_000_000, 18_278, 18_278), "'a!b'!ZZZ5:ZZZ6"),
        ("Q1!B2:B2", Area("Q1", 2, 2, 2, 2), "'Q1'!B5:B6"),
    ],
)
def test_areas_are_read_and_written(text: str, area: Area, window: str) -> None:
    """Google's form of a range, quoted names too; windows of it always quote the name."""
    assert Area.parse(text) == area
    assert area.window(5, 6) == window


@pytest.mark.parametrize(
    "text", ["", "None", "A1", "Sheet1", "Sheet1!A:B", "''!A1", "'x!A1", "S!a1", "S!A1:"]
)
def test_other_texts_are_no_area(text: str) -> None:
    """What Google never answers is an error, not a guess."""
    with pytest.raises(ValueError, match="A1 notation"):
        Area.parse(text)


@pytest.mark.parametrize(("columns", "rows"), [(1, 5000), (20, 5000), (40, 5000), (256, 781), (18_278, 10)])
def test_requests_are_bounded_by_cells(columns: int, rows: int) -> None:
    """A wide sheet is read in fewer rows at once."""
    assert Area("S", 1, 10_000, 1, columns).rows_at_once == rows
