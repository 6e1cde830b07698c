"""Amounts: exact, the sign kept, ambiguous forms refused."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from schemas.decimals import decimal_cell
from schemas.outcomes import Code


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("5000", "5000"),
        ("-500", "-500"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("5e3", "5000"),
        ("5E-3", "0.005"),
        (" 5 ", "5"),
        ("007", "7"),
        ("-0", "0"),
        ("0.100000000", "0.1"),
        ("1.0000000000000", "1"),
        ("99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"),
        (5, "5"),
        (-500, "-500"),
        (0.1, "0.1"),
        (1e22, "1e22"),
        (-0.0, "0"),
    ],
)
def test_accepted(cell: Any, value: str) -> None:
    """Every accepted form is its exact value."""
    assert decimal_cell(cell) == Decimal(value)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("1 000,50", Code.BAD_DECIMAL),
        ("1,000.50", Code.BAD_DECIMAL),
        ("1.234,56", Code.BAD_DECIMAL),
        ("1,234", Code.BAD_DECIMAL),
        ("∞", Code.BAD_DECIMAL),
        ("NaN", Code.BAD_DECIMAL),
        ("Infinity", Code.BAD_DECIMAL),
        ("1_000", Code.BAD_DECIMAL),
        ("\u0665", Code.BAD_DECIMAL),
        (".", Code.BAD_DECIMAL),
        ("--5", Code.BAD_DECIMAL),
        ("5 000", Code.BAD_DECIMAL),
        ("0x10", Code.BAD_DECIMAL),
        ("9" * 100_000, Code.BAD_DECIMAL),
        ("1e400", Code.OUT_OF_RANGE),
        ("1e999999999", Code.OUT_OF_RANGE),
        ("1e-400", Code.OUT_OF_RANGE),
        ("100000000000000000000000000000", Code.OUT_OF_RANGE),
        ("0.0000000001", Code.OUT_OF_RANGE),
        (10**29, Code.OUT_OF_RANGE),
        (float("nan"), Code.BAD_DECIMAL),
        (float("inf"), Code.BAD_DECIMAL),
        (0.1 + 0.2, Code.OUT_OF_RANGE),
        (True, Code.WRONG_TYPE),
        ([1], Code.WRONG_TYPE),
    ],
)
def test_refused(cell: Any, code: Code) -> None:
    """Everything else has a clear code, and is never repaired."""
    with pytest.raises(PydanticCustomError) as refused:
        decimal_cell(cell)
    assert refused.value.type == code


@given(st.decimals(min_value=-(10**20), max_value=10**20, places=9))
def test_any_amount_survives(amount: Decimal) -> None:
    """An amount written as Python writes it is read as the same value."""
    assert decimal_cell(str(amount)) == amount
    assert decimal_cell(f"{amount:f}") == amount


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader raise anything but its own refusals, and nothing infinite gets through."""
    try:
        value = decimal_cell(text)
    except PydanticCustomError:
        return
    assert value is None or value.is_finite()


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_one_value_has_one_text(amount: Decimal) -> None:
    """However a value is written, its canonical text is the same; the content hash rests on it."""
    assert str(decimal_cell(f"{amount}")) == str(decimal_cell(f"{amount:.9f}"))
