"""Requests of rows in which a member stands twice: of the request as a whole, and of single rows."""

from typing import Any

from api.errors import Invalid
from schemas.json_members import Members, sentence
from schemas.outcomes import Code


def refuse_repeated(request: Any) -> None:
    """Refuse a request, read as `Members`, that has a member of its own twice. Rows are judged by themselves.

    Raises:
        Invalid: `payments`, say, stands in it twice: one of the two lists would be lost.
    """
    if isinstance(request, Members) and request.repeated is not None:
        detail = sentence(request.repeated, request.keys())
        raise Invalid.field("body", Code.REPEATED_MEMBER, detail)
