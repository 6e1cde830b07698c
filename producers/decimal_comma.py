"""Decimal commas: decided once per file, never guessed (product.md, "File reality").

A file writes decimal commas when some amount has one and no amount speaks against it: none has a decimal
point, none is grouped by commas, and none could be either, as `1,234`. Until the first comma appears, in an
amount or a coordinate, nothing has to be known, because a whole number reads the same both ways; then the
whole file is looked through.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas.cells import trim
from schemas.fields import CUSTOM
from schemas.unknown_columns import as_sent

AMOUNTS: Final = ("PAYMENT_AMOUNT", "TRANSACTION_CHARGES")
NUMBERS: Final = (*AMOUNTS, "LATITUDE", "LONGITUDE")
"""Fields that are read by what the amounts say."""
_COMMA: Final = re.compile(r"[+-]?\d*,\d*", re.ASCII).fullmatch
_EITHER: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII).fullmatch
_WHOLE: Final = re.compile(r"[+-]?\d+", re.ASCII).fullmatch


def writes_commas(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every fraction in the amounts of all these rows is unambiguously a decimal comma."""
    found = False
    for row in rows:
        for name in AMOUNTS:
            text = trim(row.get(name, ""))
            if "," in text:
                if not is_comma(text):
                    return False
                found = True
            elif "." in text:
                return False
    return found


def is_comma(text: str) -> bool:
    """Whether a number's text has a decimal comma and nothing else that it could be."""
    return _COMMA(text) is not None and any(map(str.isdigit, text)) and _EITHER(text) is None


def with_points(cells: dict[str, Any]) -> dict[str, Any]:
    """The cells of a row of a file that writes decimal commas, with points; the texts as sent in `custom`.

    A pair of coordinates has points or more commas, `1.3,30.14`, and stays one: see `schemas.quantities`.
    """
    sent = {name: cells[name] for name in NUMBERS if _COMMA(trim(cells.get(name, "")))}
    if not sent:
        return cells
    raw = {as_sent(name): text for name, text in sent.items()}
    points = {name: text.replace(",", ".") for name, text in sent.items()}
    return {**cells, **points, CUSTOM: {**cells.get(CUSTOM, {}), **raw}}
