"""A sheet that was exported gets the verdicts of the sheet itself, as CSV and as a workbook."""

import csv
import io
from typing import Any

import pytest
import xlsxwriter

from producers.corrections import write_corrected
from producers.sheet_rows import open_sheet
from producers.table_rows import Row, TableRow, UnreadableRow
from producers.tabular import open_table
from schemas.fields import PROFILES
from schemas.payments import PaymentContext, PaymentValidator

HEADER = sorted(PROFILES["sheet"])
GOOD: dict[str, Any] = {
    **dict.fromkeys(HEADER, "v"), "TIMESTAMP": "2024-03-01T10:00:00", "PAYMENT_AMOUNT": 5,
    "PAYMENT_CURRENCY": "NGN", "TRANSACTION_TYPE": "REVERSAL",
}  # fmt: skip


def row(**cells: Any) -> list[Any]:
    """A good row with some other cells."""
    return [(GOOD | cells)[name] for name in HEADER]


ROWS: list[list[Any]] = [
    row(),
    row(METER_ID="#N/A"),
    [False] * len(HEADER),
    row(CUSTOMER_NAME="#REF!"),
    row(PAYMENT_AMOUNT=""),
    [False, None, False] + [None] * (len(HEADER) - 3),
    row(ID="Loading..."),
    row(ID="#1"),
]


def as_csv(rows: list[list[Any]]) -> bytes:
    """What a sheet gives as CSV."""
    text = io.StringIO()
    shown = [["" if c is None else str(c).upper() if isinstance(c, bool) else c for c in row] for row in rows]
    csv.writer(text).writerows([HEADER, *shown])
    return text.getvalue().encode()


def as_xlsx(rows: list[list[Any]]) -> bytes:
    """The same as a workbook."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    sheet = book.add_worksheet()
    for at, cells in enumerate([HEADER, *rows]):
        sheet.write_row(at, 0, cells)
    book.close()
    return data.getvalue()


def exported(data: bytes) -> list[Row]:
    """All rows of a file that was a sheet."""
    table, close = open_table(lambda: io.BytesIO(data), "sheet")
    rows = list(table)
    close()
    return rows


def verdicts(rows: list[Row]) -> list[tuple[int, Any]]:
    """Line and verdict of each row."""
    found: list[tuple[int, Any]] = []
    for one in rows:
        if isinstance(one, UnreadableRow):
            found.append((one.line, one.detail))
        else:
            errors = PaymentValidator().validate([one.cells], [PaymentContext("sheet")]).errors
            found.append((one.line, [(error.field, error.code) for error in errors.get(0, ())]))
    return found


@pytest.mark.parametrize("form", [as_csv, as_xlsx])
def test_the_verdict_is_that_of_the_sheet(form: Any) -> None:
    """Formula errors, rows of unticked boxes and all the others, line by line."""
    window = [(1, [HEADER, *ROWS])]
    sheet = open_sheet(lambda: iter(window), lambda: iter(window), "sheet")
    expected = verdicts([row for rows in sheet.batches() for row in rows])
    assert [line for line, _ in expected] == [2, 3, 5, 6, 8, 9]
    assert verdicts(exported(form(ROWS))) == expected


def test_a_corrected_copy_keeps_what_cannot_be_read() -> None:
    """As it came; an error does not become a value by being copied."""
    data = as_csv(ROWS)
    out = io.BytesIO()
    write_corrected(lambda: io.BytesIO(data), "sheet", out)
    assert [type(one) for one in exported(out.getvalue())] == [
        TableRow, UnreadableRow, UnreadableRow, TableRow, UnreadableRow, TableRow
    ]  # fmt: skip
    assert b"#REF!" in out.getvalue()
