"""Types of request fields shared by the areas: each trims, bounds and checks without quoting."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

import pycountry
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.cells import INVISIBLE
from schemas.currencies import CODES
from schemas.registry import storable

_DIGITS: Final = re.compile(r"(?:\d[\s().-]*){7,}")
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]").search


def _clean(text: str) -> str:
    """Control characters have no place in names (and PostgreSQL refuses NUL)."""
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise PydanticCustomError("control_character", "Control characters are not allowed.")
    return text


def _impersonal(text: str) -> str:
    """A reason is read by people who may not see personal data."""
    if "@" in text or _DIGITS.search(text):
        raise PydanticCustomError(
            "looks_personal",
            "No telephone numbers, long ids or e-mail addresses: a reason is no place for them.",
        )
    return text


def _visible(text: str) -> str:
    """An id with a letter that nobody sees matches no row: rows with such ids are refused."""
    if _INVISIBLE(text) is not None:
        raise PydanticCustomError("control_character", "Letters that nobody sees are not allowed in ids.")
    return text


def _country(text: str) -> str:
    """ISO 3166-1 alpha-2; alpha-3 codes and English names are accepted and turned into it."""
    try:
        found = pycountry.countries.lookup(text)
    except LookupError:
        raise PydanticCustomError("unknown_country", "Expected an ISO 3166-1 country code.") from None
    return str(found.alpha_2)


def _currency(text: str) -> str:
    """ISO 4217 code, in any case, of what somebody can be paid in."""
    code = text.upper()
    if code not in CODES:
        raise PydanticCustomError("unknown_currency", "Expected an ISO 4217 currency code.")
    return code


def _assume_utc(value: object) -> object:
    """A moment without a zone is UTC, as everywhere in the product."""
    if isinstance(value, str) and len(value) < 40:
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return value
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


def _moment(value: datetime) -> datetime:
    try:
        utc = storable(value)
    except ValueError:
        raise PydanticCustomError("out_of_range", "Expected a moment from 1900 to 2299.") from None
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


# The order matters: trimmed and measured first, then looked at.
SOURCE_NAMED: Final = (
    "A `source_ref`, one without its `@version`, or a file name alone; the 100 newest versions are looked at."
)
"""What the query parameter `source` may be, wherever rows are looked for by it."""
Clean = AfterValidator(_clean)
Line = Annotated[str, Clean]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=300),
    Clean,
    AfterValidator(_impersonal),
]
"""Why something is done, for the audit; no personal data."""
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300), Clean]
ExternalId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    Clean,
    AfterValidator(_visible),
]
"""Exact text after trimming; nothing else is normalised (near misses are hints, never matches)."""
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), Clean]
ObjectId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40), Clean]
ProgrammeId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64), Clean]
Country = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=2, max_length=80),
    AfterValidator(_country),
]
Currency = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=3),
    AfterValidator(_currency),
]
Moment = Annotated[AwareDatetime, BeforeValidator(_assume_utc), AfterValidator(_moment)]
"""ISO 8601; stored as UTC milliseconds."""
Kilowatts = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
