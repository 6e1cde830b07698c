"""Contents of stored versions as people read them: texts by field, without anything personal.

Names are those of the seed's fields (`PAYMENT_AMOUNT`, `custom.NAME`; of a read `value`). Numbers are
written exactly, times in ISO 8601 UTC, coordinates with 3 decimals as in the view `payments`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from api.db import iso_ms
from api.numbers import decimal_text
from schemas import content
from schemas.fields import BY_NAME, CUSTOM, FIELDS
from schemas.personal_cells import is_protected

READ_VALUE: Final = "value"
"""The one field in which versions of a read can differ: its value in Wh."""
_COORDINATE_DECIMALS: Final = 3
_NOT_COMPARED: Final = frozenset(field.name for field in FIELDS if field.personal)


def text_of(row: Mapping[str, Any], field: str) -> str | None:
    """The text of one field of a row of `payment_versions` or `read_versions`; None when it has none."""
    if field == READ_VALUE:
        return (
            f"{decimal_text(row['value_wh'])} Wh ({decimal_text(row['raw_value'])} {row['raw_unit']} as sent)"
        )
    if field.startswith(f"{CUSTOM}."):
        return dict(row[CUSTOM]).get(field.removeprefix(f"{CUSTOM}."))
    known = BY_NAME.get(field)
    return _text(row[known.column]) if known and field in row["supplied"] else None


def texts(row: Mapping[str, Any]) -> dict[str, str]:
    """Every field that the sender supplied; personal ones as the pseudonyms that are stored."""
    if "value_wh" in row:
        shown = {name: _text(row[name]) for name in ("device_external_id", "type", "start", "end")}
        return {name: text for name, text in {**shown, READ_VALUE: text_of(row, READ_VALUE)}.items() if text}
    found = {field.name: text_of(row, field.name) for field in FIELDS}
    found["PAYMENT_CURRENCY"] = str(row["payment_currency"])  # stored even when it was left to the dataset
    found |= {f"{CUSTOM}.{name}": text for name, text in dict(row[CUSTOM]).items()}
    return {name: text for name, text in found.items() if text}


def differing(stored: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which two versions differ, as the worker compares them."""
    if "value_wh" in stored:
        return [READ_VALUE] if stored["value_wh"] != new["value_wh"] else []
    return content.differences(stored, new)


def comparable(fields: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of the fields whose values may be shown side by side.

    Personal fields are not among them, nor unknown columns that hold a pseudonym: their names are told
    elsewhere, and two pseudonyms tell nobody more than that they differ.
    """
    return [
        field
        for field in fields
        if field not in _NOT_COMPARED and not any(is_protected(text_of(row, field)) for row in rows)
    ]


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return iso_ms(value)
    if isinstance(value, float):
        return f"{value:.{_COORDINATE_DECIMALS}f}"
    return decimal_text(value) if isinstance(value, Decimal) else str(value)
