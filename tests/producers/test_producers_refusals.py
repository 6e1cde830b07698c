"""The error report beside a refused file."""

import csv
import io

import pytest

from producers.errors import FileRefused
from producers.header import check_header
from producers.refusals import report_of
from producers.sheet_rows import open_sheet
from producers.tabular import Table
from producers.text_lines import MAX_LINE_CHARS
from schemas.fields import PROFILES
from schemas.outcomes import Code


def lines(refusal: FileRefused) -> list[dict[str, str]]:
    """The report as its reader sees it."""
    return list(csv.DictReader(io.StringIO(report_of(refusal).decode())))


def refused(names: list[str]) -> FileRefused:
    """What the reader says of a header."""
    try:
        check_header(names, "s3")
    except FileRefused as refusal:
        return refusal
    raise AssertionError("the header is good")


def test_every_fault_of_a_header_has_a_line() -> None:
    """One line each, with the field that was expected where there is one, and nothing is lost."""
    required = sorted(PROFILES["s3"])
    names = ["id", "", "STATUS", "STATUS", *(name for name in required if name not in {"ID", "METER_ID"})]
    refusal = refused(names)
    found = lines(refusal)
    assert {(line["line"], line["code"]) for line in found} == {("", "bad_header")}
    assert {line["field"] for line in found} == {"ID", "", "STATUS", "METER_ID"}
    assert "; ".join(line["detail"] for line in found) == refusal.detail
    assert len(found) == 4


def test_a_name_with_a_semicolon_makes_no_line_of_its_own() -> None:
    """What a sender put into a header does not break a fault apart, and runs as no formula."""
    names = [name for name in PROFILES["s3"] if name != "CUSTOMER_ID"] + ["CUSTOMER; ID"]
    (line,) = lines(refused(names))
    assert line["field"] == "CUSTOMER_ID"
    assert "'CUSTOMER; ID'" in line["detail"]
    formula = FileRefused(Code.WRONG_NAME, "=cmd()")
    assert lines(formula)[0]["detail"] == "'=cmd()"


def test_the_line_is_that_of_the_header() -> None:
    """Empty lines above it count, in a file and in a sheet with titles; also of one that cannot be read."""
    found = []
    for data in (b"\n\r\n \nid,STATUS\n", b'\n\n\n"id,STATUS\n', b"\n\n\n" + b"x" * (MAX_LINE_CHARS + 2)):
        with pytest.raises(FileRefused) as refused:
            Table(io.BytesIO(data), "s3")
        found.append(refused.value)
    with pytest.raises(FileRefused) as refused:
        open_sheet(*[lambda: iter([(2, [["Payments"], [], ["id", "STATUS"]])])] * 2, "sheet")
    for refusal in (*found, refused.value):
        assert {line["line"] for line in lines(refusal)} == {"4"}
        assert refusal.detail.startswith("line 4: ")


def test_a_fault_of_the_file_has_no_line() -> None:
    """An empty file is wrong as a whole."""
    (line,) = lines(FileRefused(Code.EMPTY_FILE, "0 bytes"))
    assert line == {"line": "", "field": "", "code": "empty_file", "detail": "0 bytes"}
