"""Templates: ingestible as they are, with one row that every check accepts."""

from io import BytesIO
from pathlib import Path
from typing import get_args

import pytest
from python_calamine import CalamineWorkbook
from typer.testing import CliRunner

from producers.table_rows import TableRow
from producers.tabular import open_table
from producers.template_names import TemplateFormat, TemplateProfile
from producers.templates import (
    COLUMNS,
    NOTE_HEADS,
    example_row,
    notes,
    payments_template,
)
from schemas.fields import ALIASES, EXAMPLES, FIELDS, PROFILES
from schemas.payments import PaymentContext, PaymentValidator
from sunledger.cli import app

EACH = pytest.mark.parametrize("profile", get_args(TemplateProfile))


def _rows(data: bytes, profile: str) -> list[TableRow]:
    """The rows as an upload's are read, all of them readable."""
    table, close = open_table(lambda: BytesIO(data), profile)
    found = [row for batch in table.batches() for row in batch]
    close()
    assert all(isinstance(row, TableRow) for row in found)
    return [row for row in found if isinstance(row, TableRow)]


@EACH
def test_the_csv_is_a_file_that_is_taken_in(profile: TemplateProfile) -> None:
    """Read by the reader of every channel it is one row, without unknown columns and without a fault."""
    (row,) = _rows(payments_template(profile, "csv"), profile)
    assert row.line == 2
    assert "custom" not in row.cells
    verdict = PaymentValidator().validate([row.cells], [PaymentContext(profile)])
    assert verdict.errors == {}
    assert verdict.columns["payment_currency"] == ["NGN"]
    assert PROFILES[profile] <= row.cells.keys()


@EACH
def test_the_workbook_holds_the_same_row_and_explains_every_column(profile: TemplateProfile) -> None:
    """The first sheet is read as the csv is, all cells text; the second has a line per column, in order."""
    (of_book,), (of_csv,) = (
        _rows(payments_template(profile, "xlsx"), profile),
        _rows(payments_template(profile, "csv"), profile),
    )
    assert of_book.cells == of_csv.cells
    book = CalamineWorkbook.from_filelike(BytesIO(payments_template(profile, "xlsx")))
    assert book.sheet_names == ["ELECTRICITY_PAYMENT", "Notes"]
    header, row = book.get_sheet_by_index(0).to_python()
    assert dict(zip(header, row, strict=True)) == example_row(profile)
    told = book.get_sheet_by_index(1).to_python()
    assert tuple(told[0]) == NOTE_HEADS
    explained = {str(line[0]): line for line in told[1 : len(header) + 1]}
    assert list(explained) == header
    required = {ALIASES.get(name, name) for name, line in explained.items() if line[1] == "yes"}
    assert required == PROFILES[profile]
    assert all(line[2] and line[3] and line[4] for line in explained.values())


def test_every_field_has_an_example_that_is_good() -> None:
    """All fields at once make a row that the strictest profile accepts, so each example is a good value."""
    assert all(field.example for field in FIELDS)
    assert PaymentValidator().validate([EXAMPLES], [PaymentContext("s3")]).errors == {}
    assert {field.name for field in FIELDS} >= {ALIASES.get(name, name) for name in COLUMNS["upload"]}


def test_the_header_is_in_the_order_of_the_seed() -> None:
    """That of payments-s3; the file-upload definition has its own names and order."""
    assert COLUMNS["s3"][:5] == (
        "ID", "TIMESTAMP", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "TRANSACTION_TYPE",
    )  # fmt: skip
    assert COLUMNS["s3"][-1] == "NOTES"
    assert {"CUSTOMER NAME", "TRANSACTION CHARGES", "LOCATION"} <= set(COLUMNS["upload"])
    assert [note.field for note in notes("upload")] == list(COLUMNS["upload"])


@pytest.mark.parametrize("form", get_args(TemplateFormat))
def test_the_command_writes_a_file(tmp_path: Path, form: TemplateFormat) -> None:
    """`--output` names it; an existing file is replaced by the very bytes of the download."""
    path = tmp_path / f"ELECTRICITY_PAYMENT.{form}"
    path.write_text("old")
    argv = ["template", "payments", "--profile", "sheet", "--format", form, "--output", str(path)]
    ended = CliRunner().invoke(app, argv)
    assert ended.exit_code == 0, ended.output
    if form == "csv":
        assert path.read_bytes() == payments_template("sheet", "csv")
    else:
        assert CalamineWorkbook.from_path(path).sheet_names[0] == "ELECTRICITY_PAYMENT"


def test_without_a_file_the_csv_is_printed_and_a_workbook_is_not() -> None:
    """CSV goes to standard output, byte for byte; a workbook on a terminal helps nobody."""
    ended = CliRunner().invoke(app, ["template", "payments"])
    assert ended.stdout_bytes == payments_template("s3", "csv")
    ended = CliRunner().invoke(app, ["template", "payments", "--format", "xlsx"])
    assert ended.exit_code == 2
    assert "--output" in ended.output


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder that is not there: one line that says so, no traceback."""
    path = tmp_path / "missing" / "x.csv"
    ended = CliRunner().invoke(app, ["template", "payments", "--output", str(path)])
    assert ended.exit_code == 1
    assert "No such file or directory" in ended.output
    assert "Traceback" not in ended.output


def test_an_unknown_profile_is_told_with_those_there_are() -> None:
    """Exit code 2, as for every mistake on the command line."""
    ended = CliRunner().invoke(app, ["template", "payments", "--profile", "ftp"])
    assert ended.exit_code == 2
    assert "sheet" in ended.output
