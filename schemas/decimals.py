"""Decimal numbers as people and programs write them, to exact `Decimal` values of Decimal(38, 9).

Accepted: `5000`, `-500`, `+5`, `.5`, `5.`, `5e3`, and JSON numbers (a float by its shortest text, so
0.1 is 0.1). Refused, never guessed: `1 000,50`, `1,000.50`, `1,234`, `∞`, NaN, digits of other scripts.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import PlainValidator, WithJsonSchema

from schemas.cells import PLACEHOLDERS, trim
from schemas.faults import fault
from schemas.outcomes import Code

MAX_DIGITS: Final = 38
FRACTION_DIGITS: Final = 9
MAX_INTEGER_DIGITS: Final = MAX_DIGITS - FRACTION_DIGITS
MAX_TEXT: Final = 128
"""Longest text that is looked at as a number, in characters."""

_FORM = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII).fullmatch
_NINTH: Final = Decimal(1).scaleb(-FRACTION_DIGITS)
# Refuses to round: what has more than 38 digits or 9 after the point raises instead.
_EXACT: Final = Context(prec=MAX_DIGITS, traps=[Inexact, InvalidOperation])
# Rounds half to even; only for binary floats, whose last digits are noise.
_NEAREST: Final = Context(prec=MAX_DIGITS, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_ZERO: Final = _NINTH * 0

NUMBER_PATTERN: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?"
"""A number's text as a regular expression of JSON Schema."""
_LIMIT: Final = 10.0 ** (MAX_INTEGER_DIGITS + 1)
"""A round number beyond all that fit; a float, because many readers of JSON hold no such integer."""
NUMBER_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "pattern": rf"^\s*{NUMBER_PATTERN}\s*$"},
        {"type": "number", "exclusiveMinimum": -_LIMIT, "exclusiveMaximum": _LIMIT},
    ]
}


def is_number(text: str) -> bool:
    """True for a text of the accepted form and of reasonable length, whatever its size as a number."""
    return len(text) <= MAX_TEXT and _FORM(text) is not None


def parse_decimal(text: str) -> Decimal:
    """The exact value of a number's text, in its one canonical form: nine digits after the point.

    Raises:
        PydanticCustomError: `bad_decimal` for another form; `out_of_range` for more than 29 digits
            before the point or 9 after it.
    """
    if not is_number(text):
        raise fault(Code.BAD_DECIMAL)
    return fixed(Decimal(text), _EXACT)


def fixed(number: Decimal, context: Context = _NEAREST) -> Decimal:
    """The number with nine digits after the point; zero without a sign.

    Raises:
        PydanticCustomError: `out_of_range` if it does not fit Decimal(38, 9).
    """
    try:
        return context.quantize(number, _NINTH) if number else _ZERO
    except (Inexact, InvalidOperation):
        raise fault(Code.OUT_OF_RANGE) from None


def decimal_cell(value: Any) -> Decimal | None:
    """A decimal cell of a payment; None for a missing value."""
    if isinstance(value, str):
        return _remembered(value) if len(value) <= MAX_TEXT else _text_cell(value)
    if value is None:
        return None
    return number(value)


def _text_cell(value: str) -> Decimal | None:
    text = trim(value)
    return None if text in PLACEHOLDERS else parse_decimal(text)


# Amounts repeat: a tariff has few prices. Faults are exceptions, which are not remembered.
_remembered: Final = lru_cache(maxsize=65_536)(_text_cell)


def number(value: Any) -> Decimal:
    """The exact value of a JSON number; a float by its shortest text.

    Raises:
        PydanticCustomError: `wrong_type` for anything but a number (booleans are none),
            `bad_decimal` for NaN and infinity, `out_of_range` for what does not fit.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault(Code.WRONG_TYPE)
    if isinstance(value, int):
        return fixed(Decimal(value), _EXACT)
    return parse_decimal(repr(value))


DecimalCell = Annotated[Decimal | None, PlainValidator(decimal_cell), WithJsonSchema(NUMBER_SCHEMA)]
