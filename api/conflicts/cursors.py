"""Cursors over cases: where a page of the list, or of a decision in bulk, ended."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from api.errors import BadCursor
from sinks.cases import CaseKey


def encode(case: Mapping[str, Any]) -> str:
    """The cursor that stands for "after this case"."""
    text = json.dumps([case["organization_id"], case["record_type"], case["identity"]])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> CaseKey:
    """The case that a cursor stands for.

    Raises:
        BadCursor: it did not come from `encode`.
    """
    try:
        found: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        organization_id, record_type, identity = found
        texts = isinstance(organization_id, str) and isinstance(record_type, str)
        if not texts or type(identity) is not int or not 0 <= identity < 1 << 64:
            raise ValueError("not a cursor of cases")
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
    return organization_id, record_type, identity
