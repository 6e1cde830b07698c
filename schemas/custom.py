"""Unknown columns of a payment: kept as texts under `custom`, never dropped."""

from collections.abc import Mapping
from typing import Any, Final

from schemas.cells import has_control_character, is_missing, json_text, trim
from schemas.fields import ALIASES, CUSTOM, MAX_CELL, MAX_ID, NAMES
from schemas.outcomes import Code
from schemas.personal_cells import token_fault

MAX_CUSTOM: Final = 256
"""Most unknown columns of a row."""
KNOWN_KEYS: Final = NAMES | {CUSTOM}


def canonical_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with other headers renamed to canonical ones and unknown columns under `custom`.

    A value under the canonical name wins; the alias beside it stays as an unknown column.
    """
    if row.keys() <= KNOWN_KEYS:
        return row
    known = {name: value for name, value in row.items() if name in KNOWN_KEYS}
    custom = known.get(CUSTOM)
    if custom is not None and not isinstance(custom, Mapping):
        return known
    unknown: dict[str, Any] = dict(custom or {})
    aliases = aliases_in_force(row)
    for name, value in row.items():
        if name in aliases:
            known[aliases[name]] = value
        elif name not in KNOWN_KEYS:
            unknown[_free(name, value, unknown)] = value
    known[CUSTOM] = unknown
    return known


def aliases_in_force(row: Mapping[str, Any]) -> dict[str, str]:
    """The other names in a row that stand for a field, and for which: one that has no value before them.

    The others are unknown columns.
    """
    full = {name for name in row if name in NAMES and not is_missing(row[name])}
    found: dict[str, str] = {}
    for name, value in row.items():
        field = ALIASES.get(name)
        if field is not None and field not in full:
            found[name] = field
            if not is_missing(value):
                full.add(field)
    return found


def _free(name: str, value: Any, taken: Mapping[str, Any]) -> str:
    """The name, or one like it where another value has it: nothing that was sent is dropped."""
    while name in taken and taken[name] != value:
        name += " (2)"
    return name


def custom_cell(value: Any) -> dict[str, str] | Code:
    """The texts of unknown columns, or the code of the first fault among them.

    Numbers, booleans and nested values of direct publishers become their JSON text. Nothing stands in place
    of a value that cannot be kept: its row is refused.
    """
    if not isinstance(value, Mapping):
        return {} if value is None else Code.WRONG_TYPE
    if len(value) > MAX_CUSTOM:
        return Code.TOO_LONG
    texts: dict[str, str] = {}
    for name, cell in value.items():
        text = custom_text(cell)
        if text == "" or cell is None:
            continue
        fault = _name_fault(name) or custom_fault(text)
        if fault:
            return fault
        texts[name] = text or ""
    return texts


def custom_text(value: Any) -> str | None:
    """The text of an unknown column's value; None for one that cannot be written as JSON."""
    return trim(value) if isinstance(value, str) else json_text(value)


def custom_fault(text: str | None) -> Code | None:
    """What is wrong with the text of an unknown column, if anything; a fault token says it of another."""
    if text is None:
        return Code.WRONG_TYPE
    if len(text) > MAX_CELL:
        return Code.TOO_LONG
    if has_control_character(text, many_lines=True):
        return Code.CONTROL_CHARACTER
    return token_fault(text)


def _name_fault(name: Any) -> Code | None:
    if not isinstance(name, str):
        return Code.WRONG_TYPE
    if len(name) > MAX_ID:
        return Code.TOO_LONG
    return Code.CONTROL_CHARACTER if has_control_character(name) else None
