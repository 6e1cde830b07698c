"""The remaining cells of a payment: transaction types, counts and coordinates."""

import re
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

from pydantic import PlainValidator, WithJsonSchema

from schemas.cells import PLACEHOLDERS, trim
from schemas.decimals import NUMBER_PATTERN, is_number
from schemas.faults import fault
from schemas.outcomes import Code

TRANSACTION_TYPES: Final = (
    "FULL_PAYMENT",
    "INSTALLMENT_PAYMENT",
    "NON_CONTRACT_PAYMENT",
    "DISCOUNT",
    "REVERSAL",
    "ENERGY_CREDIT",
)
"""Possible values in the seeds `payments-s3` and `payments-google-sheet`."""

MAX_TEXT: Final = 128
"""Longest text that any of these cells has, in characters."""
_KNOWN_TYPES: Final = frozenset(TRANSACTION_TYPES)
_GAPS: Final = re.compile(r"[\s_\-]+")
_COUNT: Final = re.compile(r"\d{1,10}", re.ASCII).fullmatch
MAX_COUNT: Final = 2**32 - 1
_LATITUDE_LIMIT: Final = 90
_LONGITUDE_LIMIT: Final = 180


class Pair(NamedTuple):
    """Latitude and longitude written together, as in the sample `1.3,30.14`; it has a point at least."""

    latitude: float
    longitude: float


def parse_type(text: str) -> str:
    """A transaction type in any case, with spaces or hyphens for `_`.

    Raises:
        PydanticCustomError: `unknown_type`.
    """
    found = _GAPS.sub("_", text) if len(text) <= MAX_TEXT else ""
    # Some letters of other alphabets have capitals of this one, such as the dotless i.
    if not found.isascii() or (found := found.upper()) not in _KNOWN_TYPES:
        raise fault(Code.UNKNOWN_TYPE)
    return found


def type_cell(value: Any) -> str | None:
    """A transaction type cell; None for a missing value."""
    if isinstance(value, str):
        return _remembered_type(value) if len(value) <= MAX_TEXT else _type_text(value)
    if value is None:
        return None
    raise fault(Code.WRONG_TYPE)


def _type_text(value: str) -> str | None:
    text = trim(value)
    return None if text in PLACEHOLDERS else parse_type(text)


def count_cell(value: Any) -> int | None:
    """A whole number from 0 to 2^32 - 1; None for a missing value."""
    if isinstance(value, str):
        return _remembered_count(value) if len(value) <= MAX_TEXT else _count_text(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise fault(Code.BAD_INTEGER)
    return value


def _count_text(value: str) -> int | None:
    text = trim(value)
    if text in PLACEHOLDERS:
        return None
    if _COUNT(text) is None:
        raise fault(Code.BAD_INTEGER)
    return count_cell(int(text))


def _degrees(value: Any, limit: int) -> float:
    """Degrees of a JSON number or a number's text, however many digits a satellite receiver wrote."""
    if isinstance(value, str):
        value = float(value) if is_number(trim(value)) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -limit <= value <= limit:
        raise fault(Code.BAD_COORDINATES)
    return float(value) + 0.0  # -0.0 becomes 0.0, which is the same place


def _coordinate(value: Any, limit: int) -> float | Pair | None:
    """One number of degrees, or the pair, which is read the same whichever field it stands in."""
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT else trim(value)
        return _remembered_coordinate(text, limit) if len(text) <= MAX_TEXT else _degrees(text, limit)
    return None if value is None else _degrees(value, limit)


def _coordinate_text(value: str, limit: int) -> float | Pair | None:
    text = trim(value)
    if text in PLACEHOLDERS:
        return None
    first, comma, second = text.partition(",")
    if comma and "." not in text:
        raise fault(Code.BAD_COORDINATES)  # `6,5` is 6.5 to some, and whole degrees are nobody's place
    if comma:
        return Pair(_degrees(first, _LATITUDE_LIMIT), _degrees(second, _LONGITUDE_LIMIT))
    return _degrees(text, limit)


def latitude_cell(value: Any) -> float | Pair | None:
    """A latitude cell: decimal degrees from -90 to 90, or the pair; None for a missing value."""
    return _coordinate(value, _LATITUDE_LIMIT)


def longitude_cell(value: Any) -> float | Pair | None:
    """A longitude cell: decimal degrees from -180 to 180, or the pair; None for a missing value."""
    return _coordinate(value, _LONGITUDE_LIMIT)


def settle(
    latitude: float | Pair | None, longitude: float | Pair | None
) -> tuple[float | None, float | None] | None:
    """The coordinates of a row, or None if a pair stands in one field only or the two pairs differ.

    `1,3` beside `30,14` is a decimal comma, not two pairs: it is refused, never guessed.
    """
    if isinstance(latitude, Pair):
        return (latitude.latitude, latitude.longitude) if latitude == longitude else None
    if isinstance(longitude, Pair):
        return None
    return latitude, longitude


# Few types, counts and places make up most cells. Faults are exceptions, which are not remembered.
_remembered_type: Final = lru_cache(maxsize=1024)(_type_text)
_remembered_count: Final = lru_cache(maxsize=4096)(_count_text)
_remembered_coordinate: Final = lru_cache(maxsize=65_536)(_coordinate_text)


def _any_case(name: str) -> str:
    """A type's name as a regular expression: any case, spaces and hyphens for `_`."""
    return "".join(f"[{letter}{letter.lower()}]" if letter.isalpha() else r"[\s_\-]+" for letter in name)


_TYPE_SCHEMA: Final = {
    "type": "string",
    "pattern": rf"^\s*(?:{'|'.join(map(_any_case, TRANSACTION_TYPES))})\s*$",
    "examples": [*TRANSACTION_TYPES],
}
_COUNT_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": MAX_COUNT},
        {"type": "string", "pattern": r"^\s*[0-9]{1,10}\s*$"},
    ]
}


def _coordinate_schema(limit: int) -> dict[str, Any]:
    """A number in range, its text, or the text of the pair."""
    pair = rf"^\s*{NUMBER_PATTERN}(?:\s*,\s*{NUMBER_PATTERN})?\s*$"
    number = {"type": "number", "minimum": -limit, "maximum": limit}
    return {"anyOf": [number, {"type": "string", "pattern": pair}]}


TypeCell = Annotated[str | None, PlainValidator(type_cell), WithJsonSchema(_TYPE_SCHEMA)]
CountCell = Annotated[int | None, PlainValidator(count_cell), WithJsonSchema(_COUNT_SCHEMA)]
LatitudeCell = Annotated[
    float | Pair | None, PlainValidator(latitude_cell), WithJsonSchema(_coordinate_schema(_LATITUDE_LIMIT))
]
LongitudeCell = Annotated[
    float | Pair | None, PlainValidator(longitude_cell), WithJsonSchema(_coordinate_schema(_LONGITUDE_LIMIT))
]
