"""Cursor pagination: a page is the items after a number, and `next` says where it ended."""

import base64
import binascii
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from api.errors import BadCursor

Item = TypeVar("Item")
MAX_NUMBER = 2**63 - 1


class Page(BaseModel, Generic[Item]):
    """One page of a list, oldest first."""

    items: list[Item]
    next: str | None = Field(description="Pass it as `cursor` to get the next page; null on the last one.")


class PageQuery(BaseModel):
    """Where a page starts and how long it is."""

    after: int = 0
    limit: int = 100


def encode(number: int) -> str:
    """The cursor that stands for "after this number"."""
    return base64.urlsafe_b64encode(f"n{number}".encode()).decode().rstrip("=")


def decode(cursor: str) -> int:
    """The number a cursor stands for.

    Raises:
        BadCursor: it did not come from `encode`.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        raise BadCursor from None
    digits = text.removeprefix("n")
    if not (text.startswith("n") and digits.isdecimal() and len(digits) < 20 and int(digits) <= MAX_NUMBER):
        raise BadCursor
    return int(digits)
