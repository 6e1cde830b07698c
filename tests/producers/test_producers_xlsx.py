"""Workbooks give the same rows as a CSV file of the same table, with the rows' own numbers."""

import io
import re
import zipfile
from datetime import datetime
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from producers import xlsx_records, xlsx_shape
from producers.corrections import write_corrected
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
    column = HEADER.index("PAYMENT_AMOUNT") + 1
    assert rows[1].detail == f"column {column}: a formula ended in an error"  # type: ignore[union-attr]


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


def formatted(code: str, *cells: tuple[str, Any], date_1904: bool = False) -> bytes:
    """A workbook of one row, in which these cells have this number format."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True, "date_1904": date_1904})
    style, sheet = book.add_format({"num_format": code}), book.add_worksheet()
    sheet.write_row(0, 0, HEADER)
    sheet.write_row(1, 0, row())
    for name, value in cells:
        sheet.write(1, HEADER.index(name), value, style)
    book.close()
    return data.getvalue()


def test_zeros_that_a_format_shows_are_part_of_an_id() -> None:
    """Meter 123 in a column of eight digits is the meter 00000123; an amount stays the number it is."""
    cells = [("METER_ID", 123), ("CUSTOMER_PHONE", 80312), ("ID", "x1"), ("PAYMENT_AMOUNT", 5)]
    (found,) = read(formatted("00000000", *cells))
    assert isinstance(found, TableRow)
    assert [found.cells[name] for name, _ in cells] == ["00000123", "00080312", "x1", "5"]


ZEROS_AND_MORE = ("000-000", '"MTR-"0000', "[<100]000;0000", "0,000", "00000.0", "\\A000")
OWN_LETTERS = ('"0"#', "\\0#", '"000"0', '"M-"0', '0" kWh"', '"0"#;[Red]0', '0"M')


@pytest.mark.parametrize("code", ZEROS_AND_MORE + OWN_LETTERS)
def test_an_id_of_which_a_format_shows_another_form_costs_its_row(code: str) -> None:
    """What is shown is not made up: the row says which column to make text."""
    (found,) = read(formatted(code, ("METER_ID", 123)))
    assert isinstance(found, UnreadableRow)
    assert f"column {HEADER.index('METER_ID') + 1}: a number to which its format adds" in found.detail


@pytest.mark.parametrize(
    "code",
    [
        "0",
        "0_);\\(0\\)",
        '"+"0',
        '0;"none"',
        "#,##0",
        "0.00",
        "0.00E+00",
        "@",
        "General",
        "yyyy-mm-dd",
        "#,##0.00;[Red]0",
    ],
)
def test_other_formats_leave_an_id_as_it_is(code: str) -> None:
    """A separator or a decimal point is how a number looks, and no part of an id."""
    (found,) = read(formatted(code, ("CUSTOMER_ID", "text"), ("CUSTOMER_NAME", 7)))
    assert isinstance(found, TableRow)
    if code != "yyyy-mm-dd":
        (found,) = read(formatted(code, ("METER_ID", 45987)))
        assert isinstance(found, TableRow)
        assert found.cells["METER_ID"] == "45987"


@pytest.mark.parametrize(
    ("value", "said"),
    [(datetime(2024, 3, 1, 10), "a date or a time"), (True, "TRUE or FALSE"), (12345.5, "with a fraction")],
)
def test_an_id_is_a_text_or_a_whole_number(value: Any, said: str) -> None:
    """A date, a box to tick and a fraction are told by their column and what stands there."""
    for name in ("ID", "METER_ID"):
        (found,) = read(workbook(HEADER, row(**{name: value})))
        assert isinstance(found, UnreadableRow)
        assert found.detail.startswith(f"column {HEADER.index(name) + 1}: ")
        assert said in found.detail
        assert "an id is expected" in found.detail


@pytest.mark.parametrize("value", [datetime(2024, 3, 1, 10), True])
def test_a_telephone_number_is_a_text_or_a_whole_number(value: Any) -> None:
    """A number with a fraction is left to the validation, which calls it `bad_phone`."""
    (found,) = read(workbook(HEADER, row(CUSTOMER_PHONE=value)))
    assert isinstance(found, UnreadableRow)
    assert "a telephone number is expected" in found.detail


def test_days_of_a_workbook_that_counts_from_1904() -> None:
    """A bare number in TIMESTAMP and a cell shown as a date are the same moment in it."""
    (bare,) = read(formatted("General", ("TIMESTAMP", 43890.5), date_1904=True))
    assert isinstance(bare, TableRow)
    assert bare.cells["TIMESTAMP"] == "2024-03-01T12:00:00"
    (old,) = read(formatted("General", ("TIMESTAMP", 45352.5)))
    assert isinstance(old, TableRow)
    assert old.cells["TIMESTAMP"] == "2024-03-01T12:00:00"


def test_rows_of_boxes_that_nobody_ticked_are_no_rows() -> None:
    """As in a sheet: such a column reaches to the end."""
    unticked = [False if name == "PAYMENT_AMOUNT" else None for name in HEADER]
    assert [found.line for found in read(workbook(HEADER, row(), unticked, row()))] == [2, 4]


@pytest.mark.parametrize("number", ["1e999", "nan", "-1e400"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    """What a broken program writes costs its row at most."""
    data = workbook(HEADER, row(ID=12321, PAYMENT_AMOUNT=12321, TIMESTAMP=12321), row())
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, text.replace(b"<v>12321</v>", f"<v>{number}</v>".encode()))
    assert len(read(out.getvalue())) == 2


def test_empty_cells_with_such_a_format_are_empty() -> None:
    """Whole columns are formatted, far beyond the table, and a table may begin in another column than A."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    style, sheet = book.add_format({"num_format": "0000"}), book.add_worksheet()
    sheet.write_row(0, 1, HEADER)
    sheet.write_row(1, 1, row(METER_ID=12))
    sheet.write(1, 1 + HEADER.index("METER_ID"), 12, style)
    for column in range(30, 40):
        sheet.write_blank(1, column, None, style)
    sheet.write_blank(5, 3, None, style)
    book.close()
    (found,) = read(data.getvalue())
    assert isinstance(found, TableRow)
    assert found.cells == {**GOOD, "METER_ID": "0012"}


def test_a_duration_that_is_none_costs_its_row() -> None:
    """A number beyond all days in a cell that shows hours; the rows beside it are read."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    style, sheet = book.add_format({"num_format": "[h]:mm"}), book.add_worksheet()
    for at, cells in enumerate([HEADER, row(), row(), row()]):
        sheet.write_row(at, 0, cells)
    sheet.write(2, 1, 1e300, style)
    book.close()
    rows = read(data.getvalue())
    assert [(found.line, type(found)) for found in rows] == [
        (2, TableRow), (3, UnreadableRow), (4, TableRow)
    ]  # fmt: skip
    assert "too long" in rows[1].detail  # type: ignore[union-attr]


def test_a_row_of_nothing_but_a_formula_error_is_a_row() -> None:
    """Somebody meant something there, as in a sheet."""
    rows = read(workbook(HEADER, ["#DIV/0!"], [], row()))
    assert [(found.line, type(found)) for found in rows] == [(2, UnreadableRow), (4, TableRow)]


_VALUES = st.sampled_from(
    [None, "", 1, 1.5, 1e15, 1e300, -1, 123456789012345678, True, False, "x", "#N/A", "a\tb", "a\nb", "a\rb",
     "1.2E+11", "=1", datetime(2024, 3, 1, 10), 44332.5, 2958466]
)  # fmt: skip
_FORMATS = st.sampled_from(["General", "0000", "000-00", "yyyy-mm-dd", "[h]:mm", "@", "#,##0.00", "[<1]0;00"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(_VALUES, _FORMATS), min_size=len(HEADER), max_size=len(HEADER)), max_size=4),
    st.booleans(),
)
def test_any_cells_are_read_or_refused_and_none_heals(rows: list[Any], date_1904: bool) -> None:
    """Whatever stands in a cell under whatever format: a row, and in a corrected copy never a better one."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True, "date_1904": date_1904})
    styles: dict[str, Any] = {}
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, HEADER)
    for at, cells in enumerate(rows, 1):
        for column, (value, code) in enumerate(cells):
            style = styles.setdefault(code, book.add_format({"num_format": code}))
            if isinstance(value, datetime):
                sheet.write_datetime(at, column, value, style)
            else:
                sheet.write(at, column, value, style)
    book.close()
    found, copy = read(data.getvalue()), io.BytesIO()
    assert len({one.line for one in found}) == len(found) <= len(rows)
    write_corrected(lambda: io.BytesIO(data.getvalue()), "s3", copy)
    again = read(copy.getvalue())
    assert len(again) == len(found)
    for one, other in zip(found, again, strict=True):
        assert isinstance(one, TableRow) or isinstance(other, UnreadableRow)
