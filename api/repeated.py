"""Requests in which a member stands twice: one of the two values would be lost, and nobody told.

Requests of rows read their bodies themselves, and judge each row by itself; all others are refused here.
"""

import json
from collections.abc import Container
from typing import Any

from fastapi import Request

from api.errors import Invalid
from schemas.json_members import Members, members, repeated_member, sentence
from schemas.outcomes import Code


async def refuse_repeated_members(request: Request) -> None:
    """Look at a request whose body FastAPI reads.

    Raises:
        Invalid: a member stands in it twice, at any depth; it is named if it is one of the operation's own.
    """
    body_field = getattr(request.scope["route"], "body_field", None)
    if body_field is None or "json" not in request.headers.get("content-type", ""):
        return
    text = await request.body()
    if not text:
        return
    # it was read before, or nobody would have come here; this reading sees what that one dropped
    name = repeated_member(json.loads(text, object_pairs_hook=members))
    if name is not None:
        fields: Container[str] = getattr(body_field.field_info.annotation, "model_fields", ())
        raise Invalid.field("body", Code.REPEATED_MEMBER, sentence(name, fields))


def refuse_repeated(request: Any) -> None:
    """Refuse a request, read as `Members`, that has a member of its own twice. Rows are judged by themselves.

    Raises:
        Invalid: `payments`, say, stands in it twice: one of the two lists would be lost.
    """
    if isinstance(request, Members) and request.repeated is not None:
        detail = sentence(request.repeated, request.keys())
        raise Invalid.field("body", Code.REPEATED_MEMBER, detail)
