"""Cursors over refused rows: topic and position of the last one shown.

Those of bulk requests also say when the first of them came.
"""

import base64
import json
from collections.abc import Sequence
from typing import Any

from api.errors import BadCursor
from sinks.quarantine import Place


def encode(place: Place, until_ms: int | None = None) -> str:
    """The cursor that stands for "after this row", of a walk over the rows stored until a moment."""
    found = place if until_ms is None else (*place, until_ms)
    return base64.urlsafe_b64encode(json.dumps(found).encode()).decode().rstrip("=")


def decode(cursor: str) -> Place:
    """The place a cursor stands for.

    Raises:
        BadCursor: it did not come from `encode`.
    """
    return _place(_parts(cursor, 2))


def decode_walk(cursor: str) -> tuple[Place, int]:
    """Place and moment (milliseconds since 1970, clock of ClickHouse) that a cursor of a walk stands for.

    Raises:
        BadCursor: it did not come from `encode` with a moment.
    """
    *place, until_ms = _parts(cursor, 3)
    if type(until_ms) is not int or not 0 <= until_ms < 1 << 53:
        raise BadCursor
    return _place(place), until_ms


def _parts(cursor: str, number: int) -> list[Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
    if not isinstance(found, list) or len(found) != number:
        raise BadCursor
    return found


def _place(parts: Sequence[Any]) -> Place:
    topic, position = parts
    if not isinstance(topic, str) or type(position) is not int or not 0 <= position < 1 << 64:
        raise BadCursor
    return topic, position
