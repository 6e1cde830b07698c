"""CSV formula injection: no cell that leaves the system is run by the spreadsheet that opens it."""

import ast
import csv
import io
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.errors import FileRefused
from producers.refusals import report_of
from schemas.csv_cells import as_sent, harmless
from schemas.outcomes import Code

ROOT = Path(__file__).resolve().parents[2]
OPENING = "=+-@\uff1d\uff0b\uff0d\uff20"
NUMBER = re.compile(r"([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?\d*,\d+|\+\d+( +\d+)+) *")
LEADING = re.compile(r"^[\s\x00-\x1f\x7f\u00ad\u200b-\u200f\u2060\ufeff\"]+")
CELLS = st.text(st.sampled_from("=+-@' \t\r\n,;|\"5.eE\ufeff\u200bA\uff1d"), max_size=12) | st.text(
    max_size=30
)
WRITE_NO_ROWS_OF_SENDERS = {
    "producers/corrections.py",  # a sender's own file, back to him, to be sent again as it is
    "producers/exported_sheet.py",  # a row's text as it stood in the file; whoever shows it uses `harmless`
    "producers/templates.py",
    "sunledger/demo/sample.py",
}
"""Modules that write CSV of our own making, or what its reader wrote himself."""


def _is_formula(cell: str) -> bool:
    """What a spreadsheet does with the text of one cell, as far as it concerns us."""
    text = LEADING.sub("", cell)
    return text[:1] in OPENING and text != "" and not NUMBER.fullmatch(text)


@given(CELLS)
@example("=cmd|' /C calc'!A0")
@example("a;=1+1")
@example('" =1+1')
@example("x\n@SUM(1)")
@example("-2+3+cmd|' /C calc'!A0")
@example("\ufeff=1")
@example("-5;")
@example("\r-5;")
@example("-5|' /C calc'!A0")
def test_no_cell_is_a_formula_wherever_the_spreadsheet_cuts(text: str) -> None:
    """As one cell, and as the cells that another country's list separator makes of it."""
    made = harmless(text)
    assert not _is_formula(made)
    assert not any(_is_formula(part) for part in re.split(r"[,;|\t\r\n]", made))


@given(CELLS)
def test_what_was_sent_can_be_had_back(text: str) -> None:
    """A corrected file is read without the marks, and no sender can make us take off more than them."""
    assert as_sent(harmless(text)) == text


@given(CELLS)
def test_a_spreadsheet_that_reads_the_file_sees_no_formula(text: str) -> None:
    """Through the CSV writer and back: quotes are the writer's, the apostrophe stays."""
    file = io.StringIO()
    csv.writer(file).writerow([harmless(text), "next"])
    file.seek(0)
    row = next(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert not _is_formula(row[0])


@pytest.mark.parametrize(
    "text",
    ["-5.00", "-5,00", "+5", "5e3", "-.5", "1.3,-30.14", "Accra", "a=b", "x@y.org", "", "'",
     "+2348012345678", "+234 801 234 5678", "+234 801 234 5678 "],
)  # fmt: skip
def test_numbers_and_common_texts_stay(text: str) -> None:
    """What is no formula is not touched: amounts are still numbers in the spreadsheet."""
    assert harmless(text) == text


@pytest.mark.parametrize(
    "text",
    ["+234-801-234", "+234 801-234", "+1 2+3", "-1 2", "+1 A1", "+234 (801) 234", "+1 2|3", "+1\n2",
     "-5,00,x", "-5,=1", "+1 2=3", "+", "+ 234"],
)  # fmt: skip
def test_whatever_could_be_computed_is_marked(text: str) -> None:
    """An operator, a letter, a bracket: no number and no telephone number."""
    assert harmless(text).startswith("'")


@pytest.mark.parametrize(
    "text",
    [
        "+1" + " 1" * 150_000 + "x",
        "-" + "1" * 300_000 + "x",
        ",'" * 200_000,
        " " * 300_000,
        "\n" * 300_000 + "=",
    ],
)
def test_long_cells_take_no_long_time(text: str) -> None:
    """The patterns do not go back and forth: their time grows with the text, not with its square."""
    begun = time.process_time()
    as_sent(harmless(text))
    assert time.process_time() - begun < 10


def test_the_report_beside_a_refused_file_is_harmless() -> None:
    """Its texts are ours; what they quote of a header is not."""
    report = report_of(FileRefused(Code.BAD_HEADER, "column 1 is 'x;=cmd|calc'; expected ID")).decode()
    rows = list(csv.reader(io.StringIO(report)))
    assert not any(_is_formula(part) for row in rows for cell in row for part in re.split("[,;|\t]", cell))
    assert "'=cmd|calc" in report


def test_every_writer_of_csv_goes_through_it() -> None:
    """A module that writes CSV uses `harmless`; one that does not is named here, with the reason."""
    writers = set()
    for package in ("api", "producers", "schemas", "sinks", "streams", "sunledger"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            calls = {
                node.func.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if isinstance(node.func.value, ast.Name) and node.func.value.id == "csv"
            }
            if calls & {"writer", "DictWriter"}:
                used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
                writers.add((str(path.relative_to(ROOT)), "harmless" in used))
    assert {name for name, _ in writers} >= {"producers/refusals.py", "api/uploads/report.py"}
    assert {name for name, guarded in writers if not guarded} <= WRITE_NO_ROWS_OF_SENDERS
