"""Validated cells of payments into the columns that are stored, and their content hashes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.content import custom_text, hash_columns, str_of_text, supplied_fields
from schemas.fields import BY_NAME, CUSTOM, FIELDS, NAMES

_WRITERS: Final[dict[str, Callable[[Any], str]]] = {
    "timestamp": str,
    "decimal": str,
    "count": str,
    "latitude": repr,
    "longitude": repr,
    "currency": lambda currency: currency.content,
}
_EMPTY: Final[dict[str, Any]] = dict.fromkeys(("timestamp", "decimal", "count", "latitude", "longitude"))


def columns_of(
    fields: Mapping[str, list[Any]], custom: list[dict[str, str]] | None, codes: list[str]
) -> dict[str, list[Any]]:
    """Columns as they are stored."""
    rows = len(codes)
    columns: dict[str, list[Any]] = {}
    for item in FIELDS:
        empty = _EMPTY.get(item.kind, "")
        cells = fields.get(item.name)
        if cells is None:
            columns[item.column] = [empty] * rows
        else:
            columns[item.column] = _filled(cells) if empty == "" else cells
    given = fields.get("PAYMENT_CURRENCY")
    columns["payment_currency"] = codes
    columns["currency_given"] = [currency.given if currency else "" for currency in given or [None] * rows]
    columns[CUSTOM] = custom or [{} for _ in range(rows)]
    named = dict(fields) if custom is None else {**fields, CUSTOM: [texts or None for texts in custom]}
    columns["supplied"] = supplied_fields(named, rows)
    return columns


def _filled(cells: list[Any]) -> list[Any]:
    """A text column with empty texts for missing values."""
    return ["" if cell is None else cell for cell in cells] if None in cells else cells


def hashes_of(fields: Mapping[str, list[Any]], custom: list[dict[str, str]] | None, rows: int) -> list[int]:
    """Content hash of each row over the content fields it supplied, in the order of the table."""
    parts = [
        (name, cells, _WRITERS.get(BY_NAME[name].kind, str_of_text))
        for name, cells in fields.items()
        if BY_NAME[name].content and name in NAMES
    ]
    if custom is not None:
        parts.append((CUSTOM, [texts or None for texts in custom], custom_text))
    return hash_columns(parts) if parts else [0] * rows
