"""Originals of refused rows: opened with the seal secret, and corrected field by field."""

import copy
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from api.errors import Invalid
from api.quarantine.errors import SealUnopenable
from schemas import headers
from schemas.custom import KNOWN_KEYS
from schemas.fields import ALIASES, CUSTOM
from schemas.json_members import repeated_in
from schemas.outcomes import Code
from schemas.personal import Pseudonymizer, SealBroken, Sealer
from schemas.read_model import READ_FIELDS
from sinks.quarantine import RefusedRow

PAYMENT: Final = "payment"
EDITABLE: Final[dict[str, frozenset[str]]] = {PAYMENT: KNOWN_KEYS, "read": frozenset(READ_FIELDS)}
"""Names that a correction may set, by record type; whatever else a row holds can be changed too."""


@dataclass(slots=True)
class Original:
    """A refused row as its sender meant it. Personal data: never logged.

    Attributes:
        value: the record's value as it came.
        text: what its reader could not read, or the value.
        cells: the JSON object with personal values put back; None when the row is none.
        kept: originals of personal values that were no text and stay replaced in `cells`.
        unreadable: the code with which a reader gave the row up, before the topic or because an object has a
            member twice; empty if none did.
    """

    value: bytes = field(repr=False)
    text: bytes = field(repr=False)
    cells: dict[str, Any] | None = field(repr=False)
    kept: dict[str, str] = field(repr=False)
    unreadable: str


@dataclass(slots=True)
class Correction:
    """A row to be sent again.

    Attributes:
        changed: whether it differs from the row that was refused.
    """

    cells: dict[str, Any] = field(repr=False)
    kept: dict[str, str] = field(repr=False)
    changed: bool


class Opener:
    """Opens originals with the installation's secrets."""

    def __init__(self, sealer: Sealer, pseudonymizer: Pseudonymizer) -> None:
        self._sealer = sealer
        self._pseudonymizer = pseudonymizer

    def open(self, row: RefusedRow) -> Original:
        """The original of a row.

        Raises:
            SealUnopenable: another secret, or damaged.
        """
        try:
            record = orjson.loads(self._sealer.open(row.organization_id, row.sealed))
        except (SealBroken, orjson.JSONDecodeError):
            raise SealUnopenable from None
        given = {name: b64decode(value) for name, value in record["headers"].items() if value is not None}
        value = b64decode(record["value"] or "")
        inner = self._inner(row.organization_id, given.get(headers.SEALED))
        if unreadable := given.get(headers.UNREADABLE):
            return Original(value, inner or value, None, {}, unreadable.decode(errors="replace"))
        cells = _object(value)
        if cells is not None and repeated_in([value], [cells]):
            # which of the two members its sender meant, only a person can say
            return Original(value, value, None, {}, Code.REPEATED_MEMBER)
        if cells is None or row.record_type != PAYMENT:
            return Original(value, value, cells, {}, "")
        kept = self._pseudonymizer.restore(row.organization_id, cells, _texts(inner))
        return Original(value, value, cells, kept, "")

    def _inner(self, organization_id: str, sealed: bytes | None) -> bytes:
        """What the producer sealed; nothing for a header that a direct publisher made up."""
        try:
            return self._sealer.open(organization_id, sealed.decode()) if sealed else b""
        except (SealBroken, UnicodeDecodeError):
            return b""


def corrected(original: Original, record_type: str, changes: Mapping[str, Any]) -> Correction:
    """The row with changes applied: a value sets its field, None takes the field away.

    A field under another of its headers (`CUSTOMER NAME`) is replaced with it. A row that is no JSON
    object begins empty.

    Raises:
        Invalid: a name is neither a field nor in the row, or a value cannot be written as JSON.
    """
    _check_values(changes)
    cells = copy.deepcopy(original.cells) or {}
    for given, value in changes.items():
        name = ALIASES.get(given, given) if record_type == PAYMENT else given
        if name not in EDITABLE[record_type] and name not in cells:
            raise Invalid.field("changes", "unknown_field", "A name is neither a field nor one of this row.")
        for other in (name, *_aliases(record_type, name)):
            cells.pop(other, None)
        if value is not None:
            cells[name] = value
    custom = cells.get(CUSTOM)
    there = cells.keys() | (custom.keys() if isinstance(custom, dict) else set())
    replaced = {ALIASES.get(name, name) for name in changes}
    kept = {
        name: text
        for name, text in original.kept.items()
        if name in there and ALIASES.get(name, name) not in replaced
    }
    return Correction(cells, kept, cells != original.cells)


def _aliases(record_type: str, name: str) -> list[str]:
    return [alias for alias, to in ALIASES.items() if to == name] if record_type == PAYMENT else []


def _check_values(changes: Mapping[str, Any]) -> None:
    """Only what JSON can say: no NaN, no half of a UTF-16 pair, no integer of more than 64 bits."""
    try:
        orjson.dumps(changes)
        json.dumps(changes, allow_nan=False)
    except (TypeError, ValueError):
        raise Invalid.field("changes", "not_json", "A value cannot be written as JSON.") from None


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(value)
    except (orjson.JSONDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _texts(inner: bytes) -> dict[str, str]:
    """Sealed originals: name → text; none for what is no such object."""
    found = _object(inner) or {}
    return {name: text for name, text in found.items() if isinstance(text, str)}
