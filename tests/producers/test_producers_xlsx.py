"""Workbooks give the same rows as a CSV file of the same table, with the rows' own numbers."""

import io
import re
import zipfile
from datetime import datetime
from typing import Any

import pytest
import xlsxwriter

from producers import xlsx_records, xlsx_shape
from producers.errors import FileRefused
from producers.tabular import TableRow, UnreadableRow, open_table
from producers.templates import payments_template
from schemas.fields import PROFILES
from schemas.outcomes import Code

HEADER = sorted(PROFILES["s3"])
GOOD = dict(zip(HEADER, [f"v{at}" for at in range(len(HEADER))], strict=True))


def workbook(*rows: list[Any], first_row: int = 0, hidden_before: bool = False) -> bytes:
    """A workbook with these rows on its first visible sheet."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    dates = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    if hidden_before:
        book.add_worksheet("Hidden").hide()
    sheet = book.add_worksheet("Payments")
    sheet.activate()
    sheet.set_first_sheet()
    for at, row in enumerate(rows, first_row):
        for column, value in enumerate(row):
            if isinstance(value, datetime):
                sheet.write_datetime(at, column, value, dates)
            elif value == "#DIV/0!":
                sheet.write_formula(at, column, "=1/0", None, "#DIV/0!")
            else:
                sheet.write(at, column, value)
    book.close()
    return data.getvalue()


def read(data: bytes) -> list[TableRow | UnreadableRow]:
    """All rows of a workbook."""
    table, close = open_table(lambda: io.BytesIO(data), "s3")
    rows = list(table)
    close()
    return rows


def row(**cells: Any) -> list[Any]:
    """A good row with some other cells."""
    return [(GOOD | cells)[name] for name in HEADER]


def refusal(data: bytes) -> FileRefused:
    """The file-level error of a workbook."""
    with pytest.raises(FileRefused) as refused:
        open_table(lambda: io.BytesIO(data), "s3")
    return refused.value


def test_cells_become_exact_texts() -> None:
    """Whole numbers have no `.0`, dates are ISO 8601, texts stay what they are."""
    values = {"ID": 45987, "PAYMENT_AMOUNT": 1234.5, "METER_ID": "00123", "CUSTOMER_PHONE": 2345678901234,
              "TIMESTAMP": datetime(2021, 5, 16, 14, 16, 1)}  # fmt: skip
    (found,) = read(workbook(HEADER, row(**values)))
    assert found == TableRow(
        2,
        {**GOOD, "ID": "45987", "PAYMENT_AMOUNT": "1234.5", "METER_ID": "00123",
         "CUSTOMER_PHONE": "2345678901234", "TIMESTAMP": "2021-05-16T14:16:01"},
    )  # fmt: skip


def test_lines_are_the_sheets_rows() -> None:
    """Empty rows above the header and between rows are counted and are no rows."""
    rows = read(workbook(HEADER, row(), [], row(ID="b"), first_row=3))
    assert [found.line for found in rows] == [5, 7]


def test_the_first_visible_sheet_is_read() -> None:
    """A hidden sheet before it is not."""
    assert len(read(workbook(HEADER, row(), hidden_before=True))) == 1


def test_formula_errors_and_stray_cells_cost_their_row() -> None:
    """A row with `#DIV/0!`, or with cells beyond the header, is unreadable; the others are not."""
    rows = read(workbook(HEADER, row(), row(PAYMENT_AMOUNT="#DIV/0!"), [*row(), "stray"], row()))
    assert [type(found) for found in rows] == [TableRow, UnreadableRow, UnreadableRow, TableRow]
    assert "formula" in rows[1].detail  # type: ignore[union-attr]


def test_numbers_that_lost_digits_are_not_made_up() -> None:
    """An id of more digits than a spreadsheet keeps costs its row; such a phone number is refused later."""
    rows = read(workbook(HEADER, row(ID=12345678901234567), row(CUSTOMER_PHONE=2.34567e17)))
    assert [type(found) for found in rows] == [UnreadableRow, TableRow]
    assert "15 digits" in rows[0].detail  # type: ignore[union-attr]
    assert "E+" in rows[1].cells["CUSTOMER_PHONE"]  # type: ignore[union-attr]


def test_many_rows_come_in_batches() -> None:
    """A workbook of thousands of rows gives each once."""
    rows = read(workbook(HEADER, *[row(ID=f"p{at}") for at in range(2500)]))
    assert [found.line for found in rows] == list(range(2, 2502))


def test_header_rules_are_those_of_files() -> None:
    """A wrong header says what was found and what is expected."""
    assert "expected 'ID'" in refusal(workbook([" id", *HEADER[1:]])).detail
    assert refusal(workbook()).code is Code.EMPTY_FILE


@pytest.mark.parametrize("place", ["XFD1048576", "ALM1048576", "A1048576"])
def test_a_cell_far_away_is_refused_before_it_costs_memory(place: str) -> None:
    """Two cells must not ask for all between them: such a sheet says where the stray cell stands."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, HEADER)
    sheet.write(place, "x")
    book.close()
    error = refusal(data.getvalue())
    assert error.code is Code.TOO_LARGE
    assert "column" in error.detail


def test_errors_are_seen_however_the_xml_is_written() -> None:
    """Single quotes and cells that do not tell their place are legal; a formula's error stays one."""
    data = workbook(HEADER, row(), row(PAYMENT_AMOUNT="#DIV/0!"))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.startswith("xl/worksheets/sheet") or name.endswith(".rels"):
                text = re.sub(rb' r="[A-Z]+\d+"', b"", text).replace(b'"', b"'")
            new.writestr(name, text)
    assert [type(found) for found in read(out.getvalue())] == [TableRow, UnreadableRow]


def test_files_that_are_no_workbooks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zip files of other things, broken ones and bombs are file errors, and nothing is unpacked."""
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("readme.txt", b"0" * 100_000)
    assert refusal(other.getvalue()).code is Code.BAD_ENCODING
    assert refusal(b"PK\x03\x04rest").code is Code.BAD_ENCODING
    assert refusal(workbook(HEADER, row())[:-200]).code is Code.BAD_ENCODING
    monkeypatch.setattr(xlsx_shape, "MAX_UNPACKED_BYTES", 5_000)
    assert refusal(workbook(HEADER, row())).code is Code.TOO_LARGE
    monkeypatch.setattr(xlsx_records, "MAX_PACKED_BYTES", 100)
    assert refusal(other.getvalue()).code is Code.TOO_LARGE


def test_titles_stand_above_the_header_of_an_exported_sheet() -> None:
    """Of a workbook too; of an upload the first row that is not empty must be the header."""
    data = workbook(["Payments of", 2026], [], HEADER, row(), [], row(ID="b"), first_row=1)
    table, close = open_table(lambda: io.BytesIO(data), "sheet")
    assert [found.line for found in table] == [5, 7]
    close()
    assert refusal(data).detail.startswith("line 2: the first line that is not empty must be the header")


def test_further_visible_sheets_are_told_and_not_named() -> None:
    """How many tables are left out; hidden sheets, charts and the notes of our template are none."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    for name in ("May", "Jane Doe", "June", "Hidden", "Notes"):
        sheet = book.add_worksheet(name)
        sheet.write_row(0, 0, HEADER)
    book.worksheets()[3].hide()
    book.add_chartsheet().set_chart(_chart(book))
    book.close()
    table, close = open_table(lambda: io.BytesIO(data.getvalue()), "s3")
    close()
    (warning,) = table.warnings
    assert (warning.code, "2" in warning.detail, "Jane" in warning.detail) == ("further_sheets", True, False)
    one, close = open_table(lambda: io.BytesIO(payments_template("s3", "xlsx")), "s3")
    close()
    assert list(one.warnings) == []


def _chart(book: Any) -> Any:
    chart = book.add_chart({"type": "line"})
    chart.add_series({"values": "=May!$A$1:$A$2"})
    return chart


def test_a_row_longer_than_a_line_of_a_file_may_be_is_told() -> None:
    """Few bytes of a workbook may be one long text in every cell; the rows beside it are read."""
    long = dict.fromkeys(HEADER[:5], "x" * 32_000)
    first, second = read(workbook(HEADER, row(**long), row()))
    assert isinstance(first, UnreadableRow)
    assert (first.line, first.code) == (2, Code.TOO_LARGE)
    assert isinstance(second, TableRow)


def test_what_a_workbook_unpacks_to_is_looked_at_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its texts would be in memory otherwise, before anybody knew how many there are."""
    monkeypatch.setattr(xlsx_shape, "MAX_UNPACKED_BYTES", 1_000)
    monkeypatch.delattr(xlsx_records, "CalamineWorkbook")
    assert refusal(workbook(HEADER, row())).code is Code.TOO_LARGE
