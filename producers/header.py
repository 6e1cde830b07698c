"""The header of a payments file: which column is which field, or a precise error.

Names must match exactly (seed payments-file-upload). A name that is almost a field's is an error that
says so; one that is like no field's stays as an unknown column and is not repeated in any message,
because in a file without a header it is somebody's data.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from producers.errors import FileRefused, HeaderFault
from schemas.fields import ALIASES, MAX_ID, NAMES, PROFILES
from schemas.outcomes import Code

MAX_COLUMNS: Final = 256
"""Most columns of a file."""
HEADER_WITHIN: Final = 20
"""Among how many rows of a sheet that are not empty the header is looked for: titles may stand above it."""
_SEPARATORS: Final = re.compile(r"[\s_\-.]+")
_ALIKE: Final = 0.75


@dataclass(frozen=True, slots=True)
class Header:
    """Columns of a file in order.

    Attributes:
        names: canonical field name of each column, or the name of an unknown column.
        known: whether the column is a payment field.
    """

    names: tuple[str, ...]
    known: tuple[bool, ...]

    @property
    def unknown(self) -> int:
        """How many unknown columns there are; they are kept under `custom`."""
        return self.known.count(False)


def fold(name: str) -> str:
    """A name without case, spaces, underscores, hyphens and full stops."""
    return _SEPARATORS.sub("", name).upper()


FOLDED_NAMES: Final = {
    fold(name): name
    for name in sorted({*NAMES, *ALIASES}, key=lambda name: (name in ALIASES, name), reverse=True)
}
"""Field names and their other spellings by what they are folded to."""


def known_names(texts: Sequence[str]) -> int:
    """How many of some texts name a field, whatever their case and spaces."""
    return sum(fold(text) in FOLDED_NAMES for text in texts)


def find_header(rows: Sequence[Sequence[str]]) -> int:
    """Which of the first rows of a sheet is the header: the one with the most names of fields, the upper one
    of equals.

    Raises:
        FileRefused: none has any.
    """
    known = [known_names(texts) for texts in rows]
    if not any(known):
        raise FileRefused(
            Code.BAD_HEADER,
            f"none of the first {len(rows)} rows that are not empty has a column name such as ID,"
            " TIMESTAMP or PAYMENT_AMOUNT",
        )
    return known.index(max(known))


def check_header(cells: Sequence[str], profile: str) -> Header:
    """The header, if it is one.

    Raises:
        FileRefused: says for every wrong column what was found and what is expected.
        KeyError: there is no such profile.
    """
    names = list(cells)
    while names and not names[-1].strip():
        names.pop()  # a trailing delimiter
    if len(names) > MAX_COLUMNS:
        raise FileRefused(Code.BAD_HEADER, f"{len(names)} columns; at most {MAX_COLUMNS} are read")
    faults = [fault for at, name in enumerate(names, 1) if (fault := _fault(at, name))]
    fields = [ALIASES.get(name, name) for name in names]
    faults += _twice(fields)
    faults += _missing(fields, names, profile)
    if not known_names(names):
        # A title, `sep=;` or somebody's data: it is not told what stands there.
        detail = (
            f"the first line that is not empty must be the header; none of its {len(names)} cells is named as"
            " a field"
        )
        faults.insert(0, HeaderFault("", detail))
    if faults:
        raise FileRefused(Code.BAD_HEADER, "; ".join(fault.detail for fault in faults), faults)
    return Header(tuple(fields), tuple(field in NAMES for field in fields))


def _fault(at: int, name: str) -> HeaderFault | None:
    """What is wrong with one column's name, if anything."""
    if name in NAMES or name in ALIASES:
        return None
    if not name.strip():
        return HeaderFault("", f"column {at} has no name")
    meant = FOLDED_NAMES.get(fold(name))
    if meant:
        field = ALIASES.get(meant, meant)
        return HeaderFault(field, f"column {at}: found {name!r}, expected {meant!r}")
    if len(name) > MAX_ID:
        return HeaderFault("", f"column {at}: the name has {len(name)} characters; at most {MAX_ID} are read")
    if not name.isprintable():
        return HeaderFault("", f"column {at}: the name has characters that cannot be printed")
    return None


def _twice(fields: Sequence[str]) -> list[HeaderFault]:
    """Complaints about fields that two columns claim."""
    places: dict[str, list[int]] = {}
    for at, field in enumerate(fields, 1):
        places.setdefault(field, []).append(at)
    twice = {
        field: " and ".join(map(str, at)) for field, at in places.items() if len(at) > 1 and field.strip()
    }
    return [
        HeaderFault(field, f"columns {at} have the same name {field!r}")
        if field in NAMES
        else HeaderFault("", f"columns {at} have the same name")
        for field, at in twice.items()
    ]


def _missing(fields: Sequence[str], names: Sequence[str], profile: str) -> list[HeaderFault]:
    """Complaints about required fields that no column has, each with the nearest name found."""
    present = {FOLDED_NAMES.get(fold(name), name) for name in names} | set(fields)
    present = {ALIASES.get(name, name) for name in present}
    unknown = {fold(name): name for name in names if name not in NAMES and name not in ALIASES}
    complaints = []
    for field in sorted(PROFILES[profile] - present):
        near = get_close_matches(fold(field), unknown, n=1, cutoff=_ALIKE)
        hint = f" (nearest found: {unknown[near[0]]!r})" if near else ""
        complaints.append(HeaderFault(field, f"column {field!r} is missing{hint}"))
    return complaints
