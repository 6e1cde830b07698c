"""Corrected copies: what is mechanical is put right, the rest stays, and nothing changes its meaning."""

import csv
import io
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from producers.corrected_cells import HeaderChange, corrected_header, currency_case, date_form, type_case
from producers.corrections import Corrections, write_corrected
from producers.errors import FileRefused
from producers.tabular import Table, TableRow, UnreadableRow, open_table
from schemas.fields import CUSTOM
from schemas.payments import PaymentContext, PaymentValidator

NAMES = [
    "ID", "TIMESTAMP", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "TRANSACTION_TYPE", "CUSTOMER_ID", "METER_ID",
    "CUSTOMER_NAME", "CUSTOMER_PHONE",
]  # fmt: skip
GOOD = ["U1", "2021-05-16T14:16:01", "5000", "NGN", "FULL_PAYMENT", "C1", "007", "John", "+23480"]


def file(*rows: list[str], header: list[str] | None = None, delimiter: str = ",") -> bytes:
    """A file of these rows."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header or NAMES, *rows])
    return text.getvalue().encode()


def corrected(data: bytes, profile: str = "s3") -> tuple[bytes, Corrections]:
    """The corrected copy and what was changed."""
    out = io.BytesIO()
    done = write_corrected(lambda: io.BytesIO(data), profile, out)
    return out.getvalue(), done


def rows(data: bytes) -> list[Any]:
    """The rows of a file."""
    return list(Table(io.BytesIO(data), "s3", lambda: io.BytesIO(data)))


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2021-05-16 14:16:01", "2021-05-16T14:16:01"),
        ("2021/05/16 14:16:01", "2021-05-16T14:16:01"),
        ("2021/5/6 9:16:01", "2021-05-06T09:16:01"),
        ("2021.05.16T14:16", "2021-05-16T14:16:00"),
        ("2021-05-16t14:16:01,5z", "2021-05-16T14:16:01.5Z"),
        ("2021-05-16 14:16:01 UTC", "2021-05-16T14:16:01Z"),
        ("2021-05-16 14:16:01+00:00", "2021-05-16T14:16:01+00:00"),
        ("2021-05-16  14:16:01 -0300", "2021-05-16T14:16:01-0300"),
    ],
)
def test_dates_written_year_first_are_put_right(text: str, iso: str) -> None:
    """Year, month, day in this order can be read in one way only."""
    assert date_form(text) == iso


@pytest.mark.parametrize(
    "text",
    ["16/05/2021 14:16:01", "05-06-2021 10:00", "21/05/16 14:16", "2021-05-16", "2021-05/16 14:16", "44332.6",
     "2021-02-30 14:16:01", "2021-05-16 24:00:00", "2021-05-16 02:16 PM", "N/A", "", "1621174561"],
)  # fmt: skip
def test_dates_that_could_be_others_stay(text: str) -> None:
    """Day and month in doubt, no time, no such day: people have to look."""
    assert date_form(text) == text


def test_codes_are_put_in_capitals_and_names_stay() -> None:
    """Case of types and currency codes; what is neither is left for people."""
    assert [type_case(t) for t in ("full payment", "Energy-Credit", "gift", "")] == [
        "FULL_PAYMENT", "ENERGY_CREDIT", "gift", ""
    ]  # fmt: skip
    assert [currency_case(t) for t in ("ngn", "Kes", "Naira", "cfa", "xyz", "-")] == [
        "NGN", "KES", "Naira", "cfa", "xyz", "-"
    ]  # fmt: skip


def test_headers_are_put_right_where_one_name_alone_is_meant() -> None:
    """Case, spaces, separators; the nearest of a missing field; never two columns with one name."""
    found = [
        "id",
        " TIMESTAMP ",
        "payment amount",
        "PAYMENT_CURENCY",
        *NAMES[4:7],
        "CUSTOMER NAME",
        "Phone",
        "",
    ]
    names, changes = corrected_header(found, "sheet")
    assert names == [*NAMES[:7], "CUSTOMER NAME", "Phone"]
    assert changes == [
        HeaderChange(1, "id", "ID"),
        HeaderChange(2, " TIMESTAMP ", "TIMESTAMP"),
        HeaderChange(3, "payment amount", "PAYMENT_AMOUNT"),
        HeaderChange(4, "PAYMENT_CURENCY", "PAYMENT_CURRENCY"),
    ]
    for header in (["id", "Id", *NAMES[1:]], ["ID", "id", *NAMES[1:]], ["CUSTOMER_IDD", "CUSTOMER_IDS"]):
        assert not [change for change in corrected_header(header, "s3")[1] if "ID" in change.now]


def test_what_is_mechanical_is_put_right_and_counted_by_column() -> None:
    """The copy passes where the file did not, and says what was done to it."""
    header = ["id", *NAMES[1:]]
    odd = [" U1 ", "2021/05/16 14:16", "5000", "ngn", "full payment", "C1", "007", "John ", "+23480"]
    copy, done = corrected(file(odd, GOOD, header=header, delimiter=";"))
    assert copy.decode().splitlines() == [
        ";".join(NAMES), "U1;2021-05-16T14:16:00;5000;NGN;FULL_PAYMENT;C1;007;John;+23480", ";".join(GOOD)
    ]  # fmt: skip
    assert done.to_json() == {
        "headers": [{"column": 1, "found": "id", "now": "ID"}],
        "cells": {
            "CUSTOMER_NAME": {"spaces": 1}, "ID": {"spaces": 1}, "PAYMENT_CURRENCY": {"case": 1},
            "TIMESTAMP": {"date form": 1}, "TRANSACTION_TYPE": {"case": 1},
        },
        "rows": 2,
        "left_out": 0,
    }  # fmt: skip


def test_decimal_commas_become_points_only_in_a_file_of_them() -> None:
    """`5,5` beside `6,25` is put right; beside `1,234` nothing is."""

    def amounts(*texts: str) -> list[str]:
        copy, _ = corrected(file(*[[*GOOD[:2], text, *GOOD[3:]] for text in texts], delimiter=";"))
        return [row[2] for row in csv.reader(io.StringIO(copy.decode()), delimiter=";")][1:]

    assert amounts("5,5", "6,25", "7") == ["5.5", "6.25", "7"]
    assert amounts("5,5", "1,234") == ["5,5", "1,234"]


def test_rows_that_cannot_be_read_are_copied_as_they_came() -> None:
    """Nothing is lost on the way: too few cells, a stray quote, bytes that are no text."""
    data = (
        file(GOOD)
        + b"a,b\n"
        + b'"stray,1\n'
        + ",".join(GOOD).replace("John", "J\xf6").encode("latin-1")
        + b"\n"
    )
    copy, done = corrected(data)
    assert copy == data
    assert (done.rows, done.left_out, dict(done.cells)) == (4, 0, {})
    _, cut = corrected(file(GOOD) + b'"' + b"x" * 20_000 + b"\n")
    assert (cut.rows, cut.left_out) == (1, 1)


def test_a_header_that_needs_thought_is_refused() -> None:
    """No corrected copy is made when a required column is nowhere."""
    with pytest.raises(FileRefused, match="'METER_ID' is missing"):
        corrected(file(header=[*NAMES[:6], "Serial", *NAMES[7:]]))


def test_a_workbook_becomes_a_file_with_commas() -> None:
    """xlsx in, CSV out; a row that cannot be read keeps its cells."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    sheet = book.add_worksheet()
    for at, row in enumerate([["id", *NAMES[1:]], GOOD, [*GOOD, "more"]]):
        sheet.write_row(at, 0, row)
    book.close()
    copy, done = corrected(data.getvalue())
    assert copy == file(GOOD, [*GOOD, "more", "not read: column 10: a cell beyond the header's 9"])
    assert done.rows == 2


def test_a_row_of_a_workbook_that_cannot_be_read_stays_bad_in_the_copy() -> None:
    """A formula's error, an id that lost digits or has a fraction: none is good by being copied."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    sheet = book.add_worksheet()
    zeros = book.add_format({"num_format": "000-000"})
    lines = [*GOOD[:7], "Jane\nDoe", "a\tb"]
    for at, row in enumerate([NAMES, GOOD, GOOD, GOOD, GOOD, GOOD, lines]):
        sheet.write_row(at, 0, row)
    sheet.write_formula(1, 0, "=1/0", None, "#DIV/0!")
    sheet.write(2, 0, 12345678901234567)
    sheet.write(3, 0, 12.5)
    sheet.write(4, 6, 123, zeros)
    sheet.write_formula(6, 6, "=NA()", None, "#N/A")
    book.close()
    copy, done = corrected(data.getvalue())
    assert [type(row) for row in rows(copy)] == [UnreadableRow] * 4 + [TableRow, UnreadableRow]
    assert done.rows == 6
    assert b"not read: column 1: a number with a fraction where an id is expected" in copy


def test_half_a_character_stays_one_in_the_copy() -> None:
    """A row with something that is no text must not pass with a question mark in its place."""
    text = file(GOOD, GOOD).decode()
    data = text.replace("John", "J\ud800").encode("utf-16", "surrogatepass")
    copy, _ = corrected(data)
    assert [type(row) for row in rows(copy)] == [UnreadableRow] * 2


def test_a_carriage_return_in_a_cell_is_one_in_the_copy() -> None:
    """A good row stays a good one."""
    data = file(GOOD).replace(b"John", b'"John\rDoe"')
    assert rows(corrected(data)[0]) == rows(data)
    assert isinstance(rows(data)[0], TableRow)


def test_lines_without_cells_are_left_out_of_the_copy() -> None:
    """Empty lines and lines of spaces, beside decimal commas too: they are no rows."""
    data = b"\n".join([file(["U1", GOOD[1], "5,5", *GOOD[3:]], delimiter=";"), b"", b"   ", b" ; ", b""])
    copy, done = corrected(data)
    assert done.rows == len(rows(copy)) == 1
    assert b";5.5;" in copy


def test_the_copy_of_a_file_with_carriage_returns_has_them_too() -> None:
    """Its rows that cannot be read hold line feeds, which must not become line ends in the copy."""
    good = ",".join(GOOD)
    data = "\r".join([",".join(NAMES), good, f'x\n{good}"x"', good, ""]).encode()
    assert [type(row) for row in rows(data)] == [TableRow, UnreadableRow, TableRow]
    copy, _ = corrected(data)
    assert copy == data


@pytest.mark.parametrize(
    "name",
    ["PAYMENT_AMOUNT_DUE", "REPAYMENT_AMOUNT", "AMOUNT", "PAYMENT", "PREPAYMENT_AMOUNT", "PAYMENT_ACCOUNT"],
)
def test_a_column_that_merely_contains_a_fields_name_is_not_renamed(name: str) -> None:
    """What is due is not what was paid: the missing column is told, and none is made of another one."""
    header = [name if one == "PAYMENT_AMOUNT" else one for one in NAMES]
    assert corrected_header(header, "s3") == (header, [])


@pytest.mark.parametrize(
    ("field", "name"),
    [("ID", "UID"), ("ID", "IDD"), ("CUSTOMER_ID", "CUSTOMER_UID"), ("METER_ID", "METER_ID2"),
     ("METER_ID", "PETER_ID"), ("CUSTOMER_ID", "COSTUMER_ID"), ("METER_ID", "DEVICE_ID"),
     ("CUSTOMER_NAME", "CUSTOMER_NAMES_OF")],
)  # fmt: skip
def test_ids_of_other_things_keep_their_names(field: str, name: str) -> None:
    """A short word is another one with each letter, and so is one that begins otherwise."""
    header = [name if one == field else one for one in NAMES]
    assert corrected_header(header, "s3") == (header, [])


@pytest.mark.parametrize(
    ("field", "name"),
    [("PAYMENT_CURRENCY", "payment curency"), ("TIMESTAMP", "TIMESTAMPS"), ("METER_ID", "METRE-ID"),
     ("CUSTOMER_NAME", "CUSTOMMER_NAME"), ("TRANSACTION_TYPE", "TRANSAKTION_TYPE")],
)  # fmt: skip
def test_one_slip_in_a_long_word_is_put_right(field: str, name: str) -> None:
    """A letter more, less or other, or two that changed places, in the name of a missing field."""
    header = [name if one == field else one for one in NAMES]
    assert corrected_header(header, "s3")[0] == NAMES


_TEXT = st.sampled_from(
    ["", " U1 ", "N/A", " - ", "2021/05/16 14:16:01", "2021-05-16 14:16:01.250", "2021-5-6 1:02", "5", " 5.0",
     "5,5", "1,234", "ngn", "Naira ", "CFA", "full payment", "REVERSAL", "é \t", "a\nb",
     '"q"', "1.3,30.14", "x"]
)  # fmt: skip
_CELLS = [st.one_of(st.just(good), _TEXT) for good in GOOD]


@given(st.lists(st.tuples(*_CELLS).map(list), min_size=1, max_size=6))
def test_a_correction_never_changes_what_a_row_means(found: list[list[str]]) -> None:
    """A row that passes keeps its content; a copy of a copy is the same; no row appears or disappears."""
    data = file(*found)
    copy, _ = corrected(data)
    assert corrected(copy)[0] == copy
    before, after = rows(data), rows(copy)
    assert len(before) == len(after)
    context = PaymentContext("s3")
    for old, new in zip(before, after, strict=True):
        assert isinstance(old, TableRow)
        one, two = (
            PaymentValidator().validate([{k: v for k, v in r.cells.items() if k != CUSTOM}], [context])
            for r in (old, new)
        )
        if one.valid:
            assert (two.content_hash, two.errors) == (one.content_hash, {})


def test_the_copy_is_read_like_any_file() -> None:
    """The reader takes the copy in without a word."""
    copy, _ = corrected(file(GOOD, header=["id", *NAMES[1:]]))
    table, close = open_table(lambda: io.BytesIO(copy), "s3")
    assert list(table) == [TableRow(2, dict(zip(NAMES, GOOD, strict=True)))]
    close()
