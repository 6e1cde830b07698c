"""Values of a spreadsheet's cells to the texts that a CSV file would have: exact, or not at all.

A spreadsheet keeps a number in 64 bits, of which 15 decimal digits are sure. What they no longer hold is
not made up: a telephone number keeps a form that validation refuses, an id with more digits is a fault.
"""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from schemas.cells import FORMULA_ERRORS, trim
from schemas.decimals import FRACTION_DIGITS
from schemas.fields import ALIASES, BY_NAME, Kind

_UNSURE: Final = 10**15
"""First whole number with more than 15 digits."""
_BEGIN: Final = datetime(1899, 12, 30)
_DAY_MS: Final = 86_400_000
_FIRST_DAY: Final = (date(1970, 1, 1) - _BEGIN.date()).days
_END_DAY: Final = (date(2300, 1, 1) - _BEGIN.date()).days
_UNFINISHED: Final = "Loading..."
"""What a cell shows whose formula waits for another sheet or for the network."""


def kind_of(name: str) -> Kind | None:
    """How the cells of a column are read, by its name in the header; None of one that is no field's."""
    field = BY_NAME.get(ALIASES.get(name, name))
    return field.kind if field else None


def is_error(value: Any) -> bool:
    """Whether a cell's formula ended in an error, or has not ended."""
    return isinstance(value, str) and (value in FORMULA_ERRORS or value == _UNFINISHED)


def is_empty(value: Any) -> bool:
    """Whether a cell shows nothing, or is a box that nobody ticked: columns of those reach to the end."""
    return value is None or value is False or (isinstance(value, str) and not trim(value))


def row_fault(cells: Sequence[Any], kinds: Sequence[Kind | None]) -> str | None:
    """Why a row cannot be read, as column, what stands there and what is expected; None when it can.

    `kinds` are those of the header's columns; behind them nothing may stand.
    """
    for at, cell in enumerate(cells, 1):
        if is_error(cell):
            return f"column {at}: a formula ended in an error, or has not ended"
        if at > len(kinds):
            if not is_empty(cell):
                return f"column {at}: a cell beyond the header's {len(kinds)}"
        elif (found := _no_text(cell, kinds[at - 1])) is not None:
            expected = "an id" if kinds[at - 1] == "id" else "a telephone number"
            return f"column {at}: {found} where {expected} is expected"
    return None


def _no_text(value: Any, kind: Kind | None) -> str | None:
    """What stands in place of an id or a telephone number that is neither a text nor a whole number.

    A telephone number with a fraction keeps it, and is refused by the validation as `bad_phone`.
    """
    if kind not in ("id", "phone") or value is None or isinstance(value, str):
        return None
    if not _is_number(value):
        return "TRUE or FALSE" if isinstance(value, bool) else "a date or a time"
    if kind == "phone":
        return None
    if not is_whole(value):
        return "a number with a fraction"
    return "a number of more than 15 digits" if abs(value) >= _UNSURE else None


def is_whole(value: int | float) -> bool:
    """Whether a number is a whole one; infinity, which some files have, is none."""
    return math.isfinite(value) and value == int(value)


def cell_text(value: Any, kind: Kind | None) -> str:
    """The text of a cell in a column of this kind (None: no payment field).

    Texts are as they are, TRUE and FALSE as a spreadsheet writes them, numbers by `number_text`; in a
    timestamp's column a number of days is that moment, without a zone, which validation reads as UTC.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if not _is_number(value):
        return str(value).upper()
    if kind == "timestamp":
        return moment_text(value)
    if kind == "phone" and (abs(value) >= _UNSURE or not is_whole(value)):
        return format(Decimal(repr(value)), "E")
    return number_text(value)


def number_text(value: int | float) -> str:
    """A number without an exponent, whole ones without a point.

    A fraction longer than an amount may have (9 digits) is the noise of a calculation: 15 digits are kept,
    as spreadsheets show it, so that `=100*1.075` is 107.5.
    """
    if is_whole(value):
        return str(int(Decimal(repr(value))))
    exact = Decimal(repr(value))
    exponent = exact.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > FRACTION_DIGITS:
        exact = Decimal(format(value, ".15g"))
    return format(exact, "f")


def moment_text(days: int | float) -> str:
    """The moment that many days after 1899-12-30, in ISO 8601 to the millisecond, without a zone.

    A number that is no day between 1970 and 2299 is no moment (a year, a time of day, seconds since 1970):
    it stays a number, which validation refuses.
    """
    if not _FIRST_DAY <= days < _END_DAY:
        return number_text(days)
    moment = _BEGIN + timedelta(milliseconds=round(days * _DAY_MS))
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
