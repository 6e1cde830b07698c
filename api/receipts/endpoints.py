"""GET /v1/receipts and GET /v1/receipts/{id}."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query

from api.deps import App
from api.errors import (
    Forbidden,
    Invalid,
    NotFound,
    StoreAway,
    TooManyRequests,
    Unauthorized,
    responses,
)
from api.fields import Line, Moment
from api.receipts import cursors, service
from api.receipts.files import Filters
from api.receipts.readers import IsReader
from api.receipts.schemas import AddsUp, Outcomed, ReceiptOut, ReceiptPage, Sourced
from api.receipts.taken import State

router = APIRouter(tags=["receipts"])

REACH: Final = timedelta(days=31)
"""How far a list reaches back that names neither a beginning, nor a dataset, nor one source."""
IdFilter = Annotated[Line | None, Query(max_length=40)]
Cursor = Annotated[Line | None, Query(max_length=120)]


@router.get("/v1/receipts", responses=responses(Unauthorized, Forbidden, TooManyRequests, StoreAway))
def list_receipts(
    app: App,
    reader: IsReader,
    organization_id: IdFilter = None,
    dataset_id: IdFilter = None,
    channel: Annotated[
        Sourced | None, Query(description="Where rows came from: `source` of receipts.")
    ] = None,
    source_ref: Annotated[
        Line | None, Query(max_length=2500, description="Exactly, as in the ledger.")
    ] = None,
    state: Annotated[State | None, Query(description="What became of the source.")] = None,
    outcome: Annotated[Outcomed | None, Query(description="At least one row stands so now.")] = None,
    adds_up: Annotated[AddsUp | None, Query(description="How the receipt adds up.")] = None,
    since: Annotated[
        Moment | None,
        Query(
            alias="from",
            description="Taken up at this moment or later. Left out: 31 days before `to`; with `dataset_id`"
            " or `source_ref` since ever.",
        ),
    ] = None,
    until: Annotated[
        Moment | None, Query(alias="to", description="Taken up before this moment. Left out: now.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Items per page.")] = 50,
    cursor: Cursor = None,
    next: Annotated[Line | None, Query(max_length=120, description="Another name for `cursor`.")] = None,
) -> ReceiptPage:
    """List receipts, newest first: of files, sheet readings, windows, uploads and requests.

    An admin sees those of all organisations. With a token of an organisation its own are there and no others.
    """
    owner = reader.narrowed(organization_id)
    if since is None and dataset_id is None and source_ref is None:
        since = (until or datetime.now(UTC)) - REACH
    if since is not None and until is not None and since > until:
        raise Invalid.field("from", "after_to", "Expected `from` to lie before `to`.")
    filters = Filters(owner, dataset_id, channel, source_ref, state, since, until)
    given = cursor or next
    items, end = service.page(
        app, filters, service.Wanted(outcome, adds_up), cursors.decode(given) if given else None, limit
    )
    return ReceiptPage(items=items, next=cursors.encode(end) if end else None, since=since, until=until)


@router.get("/v1/receipts/{id}", responses=responses(Unauthorized, NotFound, TooManyRequests, StoreAway))
def get_receipt(app: App, reader: IsReader, id: str) -> ReceiptOut:
    """Get one receipt, by its id or by the `receipt` that a request was answered with.

    With a token of an organisation another's is not there, nor a device's of which no row is judged yet.
    """
    return service.one(app, id, reader)
