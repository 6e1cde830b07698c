"""What is told of a fault: what is allowed, as a number or a list, and what was found where that is no value.

A value itself is never told: it may be personal data. Told are the length of one that is not, and the
currencies that an ambiguous name can mean.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, get_args

from schemas.cells import trim
from schemas.custom import MAX_CUSTOM
from schemas.decimals import FRACTION_DIGITS, MAX_INTEGER_DIGITS
from schemas.faults import SENTENCES, RowError
from schemas.fields import BY_NAME, CUSTOM, MAX_CELL, MAX_ID
from schemas.outcomes import Code
from schemas.quantities import MAX_COUNT, TRANSACTION_TYPES
from schemas.read_model import ReadType

MOST_CANDIDATES: Final = 8
"""How many of the currencies that a name can mean are told."""
_TOO_LONG: Final = SENTENCES[Code.TOO_LONG]
_UNKNOWN_TYPE: Final = SENTENCES[Code.UNKNOWN_TYPE]
_DIGITS: Final = f"at most {MAX_INTEGER_DIGITS} digits before the point and {FRACTION_DIGITS} after it"
_BY_FIELD: Final[dict[tuple[Code, str], str]] = {
    (Code.UNKNOWN_TYPE, "TRANSACTION_TYPE"): f"{_UNKNOWN_TYPE}: {', '.join(TRANSACTION_TYPES)}",
    (Code.UNKNOWN_TYPE, "type"): f"{_UNKNOWN_TYPE}: {', '.join(get_args(ReadType))}",
    (Code.TOO_LONG, "device_external_id"): f"{_TOO_LONG}: at most {MAX_ID} characters",
    (Code.TOO_LONG, CUSTOM): (
        f"more than {MAX_CUSTOM} unknown columns, or a name of more than {MAX_ID} or a text of more than"
        f" {MAX_CELL} characters among them"
    ),
    (Code.OUT_OF_RANGE, "PAYMENT_AMOUNT"): f"{SENTENCES[Code.OUT_OF_RANGE]}: {_DIGITS}",
    (Code.OUT_OF_RANGE, "TRANSACTION_CHARGES"): f"{SENTENCES[Code.OUT_OF_RANGE]}: {_DIGITS}",
    (Code.BAD_INTEGER, "FAILED_BATTERY_CAPACITY_COUNT"): f"not a whole number from 0 to {MAX_COUNT}",
    (Code.BAD_COORDINATES, "LATITUDE"): "not decimal degrees from -90 to 90, nor a pair such as 1.3,30.14",
    (Code.BAD_COORDINATES, "LONGITUDE"): "not decimal degrees from -180 to 180, nor a pair such as 1.3,30.14",
}


def sentence(code: Code, field: str = "") -> str:
    """What is told of a fault of a field, or of a whole row. `KeyError` for a code that no row has."""
    found = _BY_FIELD.get((code, field))
    if found is None and code is Code.TOO_LONG and field in BY_NAME:
        longest = MAX_ID if BY_NAME[field].kind == "id" else MAX_CELL
        return f"{_TOO_LONG}: at most {longest} characters"
    return found or SENTENCES[code]


class Told(NamedTuple):
    """A stored reason in its parts; `field` is empty when it is the row as a whole."""

    code: str
    field: str
    detail: str


def told(stored_reason: str) -> Told:
    """A reason as it is stored (`code` or `code:FIELD`), with its sentence.

    One that only another release knows keeps its code and has no sentence.
    """
    code, _, field = stored_reason.partition(":")
    return Told(code, field, sentence(Code(code), field) if code in set(Code) else "")


@lru_cache(maxsize=4096)
def row_error(field: str, code: Code, found: str = "") -> RowError:
    """The fault `code` of a field with its sentence, and what was found."""
    said = sentence(code, field)
    return RowError(field, code, f"{said}; {found}" if found else said)


def length_found(field: str, text: object) -> str:
    """What is told of a text that is too long; nothing of a personal one, which is replaced before."""
    return f"found {len(trim(text))}" if isinstance(text, str) and not BY_NAME[field].personal else ""


def candidates_found(codes: Sequence[str]) -> str:
    """What is told of a name that several currencies have."""
    more = len(codes) - MOST_CANDIDATES
    return f"it can be {', '.join(codes[:MOST_CANDIDATES])}" + (f" and {more} more" if more > 0 else "")
