"""Cursors over receipts: where a page of the list ended."""

import base64
import json
import re
from typing import Any, Final

from api.errors import BadCursor
from api.receipts.taken import Place

_MOST_MS: Final = 10_413_792_000_000  # the year 2300
_ID: Final = re.compile(r"[a-z]{2,4}_[0-9a-z]{1,36}", re.ASCII)


def encode(place: Place) -> str:
    """The cursor that stands for "after this receipt"."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decode(cursor: str) -> Place:
    """The place that a cursor stands for.

    Raises:
        BadCursor: it did not come from `encode`.
    """
    try:
        found: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        ms, receipt = found
        if type(ms) is not int or not 0 <= ms < _MOST_MS or not _ID.fullmatch(receipt):
            raise ValueError("not a cursor of receipts")
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
    return ms, receipt
