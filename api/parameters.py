"""Query parameters: those of every list, and the refusal of those that there are not.

A filter that nobody reads would answer something else than what was asked.
"""

from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request

from api.errors import FieldProblem, Invalid
from api.paging import PageQuery, decode
from api.problems import shown

_VERBS: Final = ("get", "post", "put", "patch", "delete")
_known: dict[tuple[str, str], frozenset[str]] = {}
"""Path and verb → names of its query parameters; read once, from the OpenAPI document."""


def refuse_unknown_parameters(request: Request) -> None:
    """Look at a request to an operation that has query parameters; the others have nothing to mix up.

    Raises:
        Invalid: one is none of this operation's; the answer names those that there are.
    """
    if not request.query_params:
        return
    if not _known:
        _known.update(_read(request.app))
    known = _known.get((request.scope["route"].path_format, request.method.lower()), frozenset())
    unknown = [name for name in request.query_params if name not in known]
    if known and unknown:
        detail = f"There is no such parameter; there are: {', '.join(sorted(known))}."
        raise Invalid(
            errors=[
                FieldProblem(field=f"query.{shown(name)}", code="unknown_parameter", detail=detail)
                for name in unknown
            ]
        )


def _read(app: FastAPI) -> dict[tuple[str, str], frozenset[str]]:
    document: dict[str, Any] = app.openapi()
    return {
        (path, verb): frozenset(
            parameter["name"]
            for parameter in operations[verb].get("parameters", [])
            if parameter["in"] == "query"
        )
        for path, operations in document["paths"].items()
        for verb in _VERBS
        if verb in operations
    }


def page_query(
    limit: Annotated[int, Query(ge=1, le=500, description="Items per page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=64, description="`next` of the page before.")] = None,
    next: Annotated[str | None, Query(max_length=64, description="Another name for `cursor`.")] = None,
) -> PageQuery:
    """Dependency: the page asked for."""
    given = cursor or next
    return PageQuery(after=decode(given) if given else 0, limit=limit)
