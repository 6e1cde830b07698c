"""GET /v1/ledger and GET /v1/connections/{id}/verification."""

import base64
import json
from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import App, IsAdmin
from api.errors import BadCursor, Invalid, NotFound, StoreAway, Unauthorized, responses
from api.fields import Line
from api.ledger.schemas import LedgerRow, Verification, cursor_parts
from api.models import Connection
from api.paging import Page
from api.registry import repository
from sinks import queries

router = APIRouter(tags=["ledger"])

Text = Annotated[Line | None, Query(max_length=2500)]
Cursor = Annotated[Line | None, Query(max_length=1000)]


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
    line: Annotated[int | None, Query(ge=0, lt=1 << 32)] = None,
    topic: Text = None,
    partition: Annotated[int | None, Query(ge=0, lt=1 << 16)] = None,
    offset: Annotated[int | None, Query(ge=0, lt=1 << 40)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Cursor = None,
    next: Annotated[Line | None, Query(max_length=1000, description="Another name for `cursor`.")] = None,
) -> Page[LedgerRow]:
    """What became of rows, in order of topic and position. Name what to look for by at least one filter."""
    filters = {
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
    if all(value is None for value in filters.values()):
        raise Invalid.field("record_id", "missing", "Name at least one filter.")
    given = cursor or next
    rows = app.store.ask(queries.ledger, filters, limit + 1, decode(given) if given else None)
    shown = [LedgerRow.model_validate(row) for row in rows[:limit]]
    return Page(items=shown, next=encode(shown[-1]) if len(rows) > limit else None)


@router.get("/v1/connections/{id}/verification", responses=responses(Unauthorized, NotFound, StoreAway))
def verify_connection(app: App, _admin: IsAdmin, id: str) -> Verification:
    """The evidence for one connection as it is known now."""
    with app.db.read() as session:
        known = repository.get(session, Connection, id)
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
    text = json.dumps([row.topic, int(row.position)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> tuple[str, int]:
    """Topic and position a cursor stands for.

    Raises:
        BadCursor: it did not come from `encode`.
    """
    try:
        return cursor_parts(json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
