"""GET /v1/ledger and GET /v1/connections/{id}/verification."""

import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.deps import App, IsAdmin
from api.errors import BadCursor, Invalid, NotFound, StoreAway, Unauthorized, responses
from api.fields import SOURCE_NAMED, Line, Moment
from api.ledger import why
from api.ledger.as_known import as_known
from api.ledger.named import Named
from api.ledger.pages import LedgerPage, LedgerRow
from api.ledger.schemas import Verification, cursor_parts
from api.models import Connection
from api.registry import repository
from sinks import queries

router = APIRouter(tags=["ledger"])

Text = Annotated[Line | None, Query(max_length=2500)]
Cursor = Annotated[Line | None, Query(max_length=7000)]


@router.get("/v1/ledger", responses=responses(Unauthorized, StoreAway))
def read_ledger(
    app: App,
    _admin: IsAdmin,
    record_id: Text = None,
    organization_id: Text = None,
    dataset_id: Text = None,
    record_type: Annotated[Line | None, Query(pattern="^(payment|read)$")] = None,
    outcome: Annotated[Line | None, Query(pattern="^(accepted|duplicate|conflict|quarantined)$")] = None,
    source_ref: Text = None,
    source: Annotated[
        Text,
        Query(description=f"{SOURCE_NAMED} Rows of the newest version come first."),
    ] = None,
    line: Annotated[int | None, Query(ge=0, lt=1 << 32)] = None,
    topic: Text = None,
    partition: Annotated[int | None, Query(ge=0, lt=1 << 16)] = None,
    offset: Annotated[int | None, Query(ge=0, lt=1 << 40)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Cursor = None,
    next: Annotated[Line | None, Query(max_length=7000, description="Another name for `cursor`.")] = None,
    explain: Annotated[
        bool | None,
        Query(
            description="Tell checks, first occurrence, differences, match and stored row of every item. "
            "Left out: when `record_id`, a source and its `line`, or a place in a topic is named."
        ),
    ] = None,
) -> LedgerPage:
    """What became of rows, in order of topic and position. Name what to look for by at least one filter.

    When rows are named, `on_the_way` tells whether some are received and not judged yet.
    """
    if source is not None and source_ref is not None:
        raise Invalid.field("source", "one_of", "Give either `source` or `source_ref`.")
    filters: dict[str, Any] = {
        "record_id": record_id,
        "organization_id": organization_id,
        "dataset_id": dataset_id,
        "record_type": record_type,
        "outcome": outcome,
        "source_ref": source_ref,
        "line": line,
        "topic": topic,
        "partition": partition,
        "offset": offset,
    }
    if source is None and all(value is None for value in filters.values()):
        raise Invalid.field("record_id", "missing", "Name at least one filter.")
    given = cursor or next
    named = Named(
        record_id, source or source_ref, line, topic, partition, offset, organization_id, dataset_id,
        exact=source is None,
    )  # fmt: skip
    after = decode(given) if given else None
    rows, on_the_way = why.ask(app, named, filters, limit + 1, after, explain)
    shown = why.told(app.store, rows[:limit], named.rows if explain is None else explain)
    return LedgerPage(
        items=shown, next=encode(shown[-1]) if len(rows) > limit else None, on_the_way=on_the_way
    )


@router.get("/v1/connections/{id}/verification", responses=responses(Unauthorized, NotFound, StoreAway))
def verify_connection(
    app: App,
    _admin: IsAdmin,
    id: str,
    as_known_at: Annotated[
        Moment | None,
        Query(
            description="A moment up to now: the evidence as it was known then, whatever was received,"
            " registered or decided since."
        ),
    ] = None,
) -> Verification:
    """The evidence for one connection as it is known now, or as it was known at a moment."""
    with app.db.read() as session:
        known = repository.get(session, Connection, id)
    if as_known_at is not None:
        return as_known(app, known, as_known_at)
    row = app.store.ask(queries.verification, known.organization_id, known.id)
    if row is not None:
        return Verification.model_validate(row)
    # Registered a moment ago, or archived: no evidence counts for it.
    return Verification(
        organization_id=known.organization_id,
        project_id=known.project_id,
        connection_id=known.id,
        external_id=known.external_id,
    )


def encode(row: LedgerRow) -> str:
    """The cursor that stands for "after this row"."""
    text = json.dumps([row.topic, int(row.position), row.source_ref])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[str, int, str]:
    """Topic, position and `source_ref` a cursor stands for.

    Raises:
        BadCursor: it did not come from `encode`.
    """
    try:
        return cursor_parts(json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
