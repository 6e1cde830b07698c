"""Timestamps as texts and as epoch seconds, to integer milliseconds of UTC.

Accepted forms (product.md, "Payments"): `2021-05-16T14:16:01`, the same with a fraction, `Z` or an
offset, and with a space for the `T`. Without a zone it is UTC. Fractions finer than a millisecond are
cut off, never rounded up into the next second.
"""

import re
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import PlainValidator, WithJsonSchema

from schemas.cells import PLACEHOLDERS, trim
from schemas.faults import fault
from schemas.outcomes import Code

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch
# Not 24:00, which the next day's midnight is called by some and nothing by others.
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)", re.ASCII).fullmatch
_TAIL: Final = re.compile(r"(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d)(?::?([0-5]\d))?)?", re.ASCII).fullmatch
_LAST: Final = frozenset("0123456789Z")
"""How a timestamp ends; anything else may be white space, of which Unicode has more than blanks."""
_DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()

MIN_MS: Final = (date(1900, 1, 1).toordinal() - _EPOCH_ORDINAL) * _DAY_MS
"""First accepted instant; ClickHouse's DateTime64 begins here."""
END_MS: Final = (date(2300, 1, 1).toordinal() - _EPOCH_ORDINAL) * _DAY_MS
"""First instant that is refused again; ClickHouse's DateTime64 ends here."""
MAX_OFFSET_MINUTES: Final = 14 * 60
"""Largest offset in use anywhere (Line Islands, +14:00)."""

MAX_TEXT: Final = 64
"""Longest text that can be a timestamp with white space around it, in characters."""

TEXT_SCHEMA: Final = {
    "type": "string",
    # not the format `date-time`: RFC 3339 asks for a zone, and knows no other years
    "pattern": r"^\s*(?:1899|19[0-9]{2}|2[0-2][0-9]{2}|2300)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[T ]"
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)?\s*$",
}


def parse_timestamp(text: str) -> int:
    """Milliseconds since 1970 in UTC of a timestamp's text.

    A day, a second of the day and what follows are read apart, because each of them repeats so much
    that it is almost always remembered.

    Raises:
        PydanticCustomError: `bad_timestamp` or `timestamp_out_of_range`.
    """
    if text[10:11] not in ("T", " "):
        raise fault(Code.BAD_TIMESTAMP)
    ms = _day_ms(text[:10]) + _time_ms(text[11:19]) + _tail_ms(text[19:])
    if not MIN_MS <= ms < END_MS:
        raise fault(Code.TIMESTAMP_OUT_OF_RANGE)
    return ms


@lru_cache(maxsize=8192)
def _day_ms(text: str) -> int:
    """Milliseconds from 1970 to the midnight that begins a date."""
    if _DATE(text) is None:
        raise fault(Code.BAD_TIMESTAMP)
    try:
        return (date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL) * _DAY_MS
    except ValueError:
        # A year 0000, a 30 February.
        raise fault(Code.BAD_TIMESTAMP) from None


@lru_cache(maxsize=90_000)
def _time_ms(text: str) -> int:
    """Milliseconds from midnight to a second of the day."""
    match = _TIME(text)
    if match is None:
        raise fault(Code.BAD_TIMESTAMP)
    return (int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])) * 1000


@lru_cache(maxsize=16_384)
def _tail_ms(text: str) -> int:
    """What a fraction and an offset add to the time, in milliseconds."""
    match = _TAIL(text)
    if match is None:
        raise fault(Code.BAD_TIMESTAMP)
    fraction = int((match[1] or "0").ljust(3, "0")[:3])
    minutes = int(match[3] or 0) * 60 + int(match[4] or 0)
    if minutes > MAX_OFFSET_MINUTES:
        raise fault(Code.BAD_TIMESTAMP)
    return fraction + (minutes if match[2] == "-" else -minutes) * _MINUTE_MS


def timestamp_cell(value: Any) -> int | None:
    """A timestamp cell of a payment; None for a missing value."""
    if isinstance(value, str):
        return _remembered(value) if len(value) <= MAX_TEXT else _text_cell(value)
    if value is None:
        return None
    raise fault(Code.WRONG_TYPE)


def _text_cell(value: str) -> int | None:
    if value[10:11] == "T" and value[-1] in _LAST:
        return parse_timestamp(value)
    text = trim(value)
    return None if text in PLACEHOLDERS else parse_timestamp(text)


# Meters report at the same quarters of an hour. Faults are exceptions, which are not remembered.
_remembered: Final = lru_cache(maxsize=65_536)(_text_cell)


def is_naive(text: str) -> bool:
    """True for the text of a time without a zone."""
    bare = trim(text)
    match = _TAIL(bare[19:])
    return match is not None and match[2] is None and not bare.endswith("Z")


def epoch_ms(seconds: int | float) -> int:
    """Milliseconds of UTC from seconds since 1970, fractions below a millisecond cut off.

    Raises:
        PydanticCustomError: `timestamp_out_of_range`, also for an infinite number and for NaN.
    """
    if not MIN_MS <= seconds * 1000 < END_MS:
        raise fault(Code.TIMESTAMP_OUT_OF_RANGE)
    if isinstance(seconds, int):
        return seconds * 1000
    # A float second is its nearest microsecond first: 1.001 is 1.00099999… in binary.
    return round(seconds * 1_000_000) // 1000


def moment_cell(value: Any) -> int | None:
    """A timestamp cell of a read: a text or epoch seconds; None for a missing value."""
    if isinstance(value, str):
        return _remembered(value) if len(value) <= MAX_TEXT else _text_cell(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return epoch_ms(value)
    return timestamp_cell(value)


TimestampCell = Annotated[int | None, PlainValidator(timestamp_cell), WithJsonSchema(TEXT_SCHEMA)]
MomentCell = Annotated[
    int | None,
    PlainValidator(moment_cell),
    WithJsonSchema({"anyOf": [TEXT_SCHEMA, {"type": "number", "description": "seconds since 1970, UTC"}]}),
]
