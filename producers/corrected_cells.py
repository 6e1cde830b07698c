"""Mechanical corrections of a header and of cells: what a person would do without having to think.

A correction never changes what a good value means, and what could mean two things stays as it is.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pydantic_core import PydanticCustomError

from producers.header import FOLDED_NAMES, fold
from schemas.cells import PLACEHOLDERS, trim
from schemas.currencies import parse_currency
from schemas.fields import ALIASES, BY_NAME, NAMES, PROFILES
from schemas.quantities import parse_type
from schemas.timestamps import parse_timestamp

SPACES: Final = "spaces"
DATE_FORM: Final = "date form"
CASE: Final = "case"
DECIMAL_COMMA: Final = "decimal comma"
_LONG_WORD: Final = 5
"""Letters of a word in which a slip is seen as one: `UID` is no misspelt `ID`."""
_SEPARATORS: Final = re.compile(r"[\s_\-.]+")
_MOMENT: Final = re.compile(
    r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:T|\s+)(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
).fullmatch


class HeaderChange(NamedTuple):
    """A column's name that was corrected; `column` counts from 1."""

    column: int
    found: str
    now: str


def corrected_header(cells: Sequence[str], profile: str) -> tuple[list[str], list[HeaderChange]]:
    """The header with names put right: case, spaces and separators, then a slip in that of a missing field.

    A name is only given where nobody else claims it: two columns of one field stay two.

    Raises:
        KeyError: there is no such profile.
    """
    names = list(cells)
    while names and not names[-1].strip():
        names.pop()  # a trailing delimiter
    wanted = _respelled(names)
    wanted |= _nearest([wanted.get(at, name) for at, name in enumerate(names)], profile)
    taken = [ALIASES.get(name, name) for at, name in enumerate(names) if at not in wanted]
    changes = []
    for at, name in wanted.items():
        if name not in taken and list(wanted.values()).count(name) == 1:
            changes.append(HeaderChange(at + 1, names[at], name))
            names[at] = name
    return names, sorted(changes)


def _respelled(names: Sequence[str]) -> dict[int, str]:
    """Columns that are a field's but for case, spaces and separators."""
    found = {at: FOLDED_NAMES.get(fold(name)) for at, name in enumerate(names)}
    return {
        at: ALIASES.get(meant, meant)
        for at, meant in found.items()
        if meant and names[at] not in NAMES and names[at] not in ALIASES
    }


def _nearest(names: Sequence[str], profile: str) -> dict[int, str]:
    """Unknown columns that are the only misspelling of a missing field, and of no other missing one."""
    missing = sorted(PROFILES[profile] - {ALIASES.get(name, name) for name in names})
    unknown = [at for at, name in enumerate(names) if name not in NAMES and name not in ALIASES]
    claims = [(at, field) for field in missing for at in unknown if _is_misspelt(names[at], field)]
    places, fields = [at for at, _ in claims], [field for _, field in claims]
    return {at: field for at, field in claims if places.count(at) == fields.count(field) == 1}


def _is_misspelt(name: str, field: str) -> bool:
    """Whether a name can only be the field's with a slip in one of its longer words.

    Another word makes another field: none is `PAYMENT_AMOUNT_DUE`, `REPAYMENT_AMOUNT` or `CUSTOMER_UID`.
    """
    found, own = (_SEPARATORS.sub(" ", text).strip().upper().split() for text in (name, field))
    if len(found) != len(own):
        return False
    wrong = [(one, word) for one, word in zip(found, own, strict=True) if one != word]
    return len(wrong) == 1 and _is_slip(*wrong[0])


def _is_slip(found: str, word: str) -> bool:
    """Whether a word has one letter more, less or other, or two changed about; never the first one."""
    if len(word) < _LONG_WORD or found[:1] != word[:1] or abs(len(found) - len(word)) > 1:
        return False
    start = next((at for at, (one, other) in enumerate(zip(found, word, strict=False)) if one != other), -1)
    start = start if start >= 0 else min(len(found), len(word))
    ours, theirs = word[start:], found[start:]
    swapped = theirs[1::-1] + theirs[2:]
    return ours[1:] == theirs[1:] or ours[1:] == theirs or ours == theirs[1:] or ours == swapped


Fix = Callable[[str], str]


def fixes_of(name: str) -> list[tuple[str, Fix]]:
    """What is put right in the cells of a column, in order: how it is called, and what does it."""
    field = BY_NAME.get(name)
    own = _BY_KIND.get(field.kind) if field else None
    return [(SPACES, trim), *([own] if own else [])]


def date_form(text: str) -> str:
    """A moment written year first, in ISO 8601; anything else as it is, also what is no moment then."""
    found = _MOMENT(text)
    if found is None:
        return text
    year, _, month, day, hour, minute, second, fraction, zone = found.groups()
    iso = f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute}:{second or '00'}"
    iso += f".{fraction}" if fraction else ""
    if zone:
        iso += "Z" if zone.upper() in ("Z", "UTC") else zone
    return iso if _is_good(parse_timestamp, iso) else text


def type_case(text: str) -> str:
    """A transaction type in capitals with underscores."""
    return parse_type(text) if _is_good(parse_type, text) else text


def currency_case(text: str) -> str:
    """A currency's code in capitals; a name stays as it is."""
    if len(text) != len("NGN") or not _is_good(parse_currency, text):
        return text
    return text.upper() if text.upper() in parse_currency(text).codes else text


def _is_good(parse: Callable[[str], object], text: str) -> bool:
    if text in PLACEHOLDERS:
        return False
    try:
        parse(text)
    except PydanticCustomError:
        return False
    return True


_BY_KIND: Final[dict[str, tuple[str, Fix]]] = {
    "timestamp": (DATE_FORM, date_form),
    "type": (CASE, type_case),
    "currency": (CASE, currency_case),
}
