"""Decimal commas are decided per file, from all of it, and never guessed."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.decimal_comma import is_comma, with_points
from producers.tabular import Table, TableRow, UnreadableRow, open_table
from schemas.fields import PROFILES

HEADER = [*sorted(PROFILES["s3"]), "TRANSACTION_CHARGES", "LATITUDE", "LONGITUDE"]


def file(*rows: dict[str, str]) -> bytes:
    """A file with semicolons; what a row does not say is `x`."""
    lines = [
        ";".join(row.get(name, "" if name not in PROFILES["s3"] else "x") for name in HEADER) for row in rows
    ]
    return "\n".join([";".join(HEADER), *lines, ""]).encode()


def read(data: bytes) -> list[dict[str, Any]]:
    """Cells of all rows of a file that can be opened again."""
    table, close = open_table(lambda: io.BytesIO(data), "s3")
    rows = [row.cells for row in table if isinstance(row, TableRow)]
    close()
    return rows


def amounts(*texts: str) -> list[str]:
    """What becomes of amounts that stand in one file."""
    return [cells["PAYMENT_AMOUNT"] for cells in read(file(*[{"PAYMENT_AMOUNT": text} for text in texts]))]


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        (["1000,50", "7", "-3,5"], ["1000.50", "7", "-3.5"]),
        ([",5", "5,", "0,125", "1234,567", "+2,1234"], [".5", "5.", "0.125", "1234.567", "+2.1234"]),
        (["1000,50", "1,234"], ["1000,50", "1,234"]),  # one that could be either speaks for nothing
        (["1,234"], ["1,234"]),
        (["1000,50", "1000.50"], ["1000,50", "1000.50"]),
        (["1.5", "1000,50"], ["1.5", "1000,50"]),
        (["1000,50", "1.000,50"], ["1000,50", "1.000,50"]),
        (["1000,50", "1,000,000"], ["1000,50", "1,000,000"]),
        (["1 000,50"], ["1 000,50"]),
        (["1000,50", "12"] * 3000, ["1000.50", "12"] * 3000),
        (["1000,50"] * 3000 + ["0.5"], ["1000,50"] * 3000 + ["0.5"]),
    ],
)
def test_decimal_commas_are_decided_by_the_whole_file(sent: list[str], read_as: list[str]) -> None:
    """All fractions must be commas beyond doubt, however late in the file the one is that is not."""
    assert amounts(*sent) == read_as


def test_the_text_as_sent_is_kept() -> None:
    """What was written stays beside what was read, and whole numbers have nothing to keep."""
    first, second = read(
        file({"PAYMENT_AMOUNT": "10,5", "TRANSACTION_CHARGES": "0,1"}, {"PAYMENT_AMOUNT": "3"})
    )
    assert first["custom"] == {"PAYMENT_AMOUNT_AS_SENT": "10,5", "TRANSACTION_CHARGES_AS_SENT": "0,1"}
    assert (first["PAYMENT_AMOUNT"], first["TRANSACTION_CHARGES"]) == ("10.5", "0.1")
    assert "custom" not in second


def test_coordinates_follow_the_amounts_unless_they_are_a_pair() -> None:
    """In such a file `6,52` is a latitude, also where the longitude is the same; a pair has points."""
    alone, same, pair = read(
        file(
            {"PAYMENT_AMOUNT": "1,5", "LATITUDE": "6,52", "LONGITUDE": "3,37"},
            {"PAYMENT_AMOUNT": "1,5", "LATITUDE": "6,5", "LONGITUDE": "6,5"},
            {"PAYMENT_AMOUNT": "1,5", "LATITUDE": "1.3,30.14", "LONGITUDE": "1.3,30.14"},
        )
    )
    assert (alone["LATITUDE"], alone["LONGITUDE"]) == ("6.52", "3.37")
    assert (same["LATITUDE"], same["LONGITUDE"]) == ("6.5", "6.5")
    assert (pair["LATITUDE"], pair["LONGITUDE"]) == ("1.3,30.14", "1.3,30.14")


def test_coordinates_before_the_first_comma_in_an_amount_are_read_alike() -> None:
    """Their own commas are a reason to look through the file; only amounts decide."""
    coordinates = {"LATITUDE": "6,5", "LONGITUDE": "3,25"}
    rows = [{"PAYMENT_AMOUNT": "5", **coordinates}] * 300
    found = read(file(*rows, {"PAYMENT_AMOUNT": "5,5", **coordinates}))
    assert {row["LATITUDE"] for row in found} == {"6.5"}
    assert {row["LATITUDE"] for row in read(file(*rows))} == {"6,5"}


def test_a_file_that_cannot_be_opened_again_is_not_guessed() -> None:
    """Without a look at all of it a comma stays a comma, which the validation refuses."""
    (row,) = Table(io.BytesIO(file({"PAYMENT_AMOUNT": "1,5"})), "s3")
    assert isinstance(row, TableRow)
    assert row.cells["PAYMENT_AMOUNT"] == "1,5"


@given(st.text("0123456789,.-+ ", max_size=10))
def test_what_is_a_comma_is_a_number_with_a_point(text: str) -> None:
    """Every text that is taken for a decimal comma becomes a number that Python reads as one."""
    if is_comma(text):
        assert float(with_points({"PAYMENT_AMOUNT": text})["PAYMENT_AMOUNT"]) is not None


@given(st.lists(st.sampled_from(["1,5", "2", "3.5", "1,234", '"', "x"]), max_size=8), st.integers(1, 40))
def test_any_pieces_give_the_same_rows(texts: list[str], size: int) -> None:
    """However the bytes arrive, the rows are the same."""
    data = file(*[{"PAYMENT_AMOUNT": text} for text in texts])

    class Pieces(io.BytesIO):
        def read(self, asked: int | None = -1, /) -> bytes:
            return super().read(min(size, asked or size))

    def rows(open_source: Callable[[], Any]) -> list[TableRow | UnreadableRow]:
        return list(open_table(open_source, "s3")[0])

    assert rows(lambda: Pieces(data)) == rows(lambda: io.BytesIO(data))
