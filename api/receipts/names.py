"""Receipts of devices' requests: ids that tell when the request came and how many rows it had.

A request is recorded nowhere but in the ledger, when its rows are judged. The id itself carries their
number, so that it can be told from the first row on, or before any, whether some are still to come.
"""

import re
from datetime import UTC, datetime
from typing import Final

from api import ids

ROWS_CHARS: Final = 4
MOST_ROWS: Final = 32**ROWS_CHARS - 1
_TIME_CHARS: Final = 10
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE: Final = {char: value for value, char in enumerate(_ALPHABET)}
_DIGIT: Final = "[0-9a-hjkmnp-tv-z]"
FORM: Final = f"{ids.RECEIPT}_{_DIGIT}{{26}}({_DIGIT}{{4}})?"
"""Regular expression of a receipt: one of before does not say how many rows there were."""
_RECEIPT: Final = re.compile(FORM, re.ASCII)
_START: Final = len(ids.RECEIPT) + 1


def new_receipt(rows: int) -> str:
    """A new receipt of a request with so many rows: an id, followed by their number in base 32.

    Raises:
        ValueError: more rows than fit.
    """
    if not 0 < rows <= MOST_ROWS:
        raise ValueError(f"found {rows} rows, expected 1 to {MOST_ROWS}")
    return ids.new_id(ids.RECEIPT) + _digits(rows, ROWS_CHARS)


def is_receipt(text: str) -> bool:
    """Whether a text has the form of a request's receipt."""
    return _RECEIPT.fullmatch(text) is not None


def rows_of(receipt: str) -> int | None:
    """How many rows the request had; None for a receipt of before, which does not say."""
    found = _RECEIPT.fullmatch(receipt)
    return _number(found[1]) if found and found[1] else None


def ms_of(receipt: str) -> int:
    """When the request came, in milliseconds since 1970."""
    return _number(receipt[_START : _START + _TIME_CHARS])


def moment_of(receipt: str) -> datetime:
    """When the request came, aware UTC, in whole milliseconds."""
    return from_ms(ms_of(receipt))


def lowest(ms: int) -> str:
    """A text that no receipt of this millisecond or a later one sorts before, and every earlier one does."""
    return f"{ids.RECEIPT}_{_digits(max(ms, 0), _TIME_CHARS)}"


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970, without the rounding of floats."""
    return round((moment - _EPOCH).total_seconds() * 1000)


def from_ms(ms: int) -> datetime:
    """The moment so many milliseconds after 1970, aware UTC."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _digits(value: int, length: int) -> str:
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(5 * (length - 1), -1, -5))


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value << 5 | _VALUE[digit]
    return value
