"""Cursors over refused rows: topic and position of the last one shown."""

import base64
import json

from api.errors import BadCursor
from sinks.quarantine import Place


def encode(place: Place) -> str:
    """The cursor that stands for "after this row"."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decode(cursor: str) -> Place:
    """The place a cursor stands for.

    Raises:
        BadCursor: it did not come from `encode`.
    """
    try:
        topic, position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
    if not isinstance(topic, str) or type(position) is not int or not 0 <= position < 1 << 64:
        raise BadCursor
    return topic, position
