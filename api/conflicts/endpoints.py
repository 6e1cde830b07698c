"""/v1/conflicts: records that came with several contents, and decisions about them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api import ids
from api.audit.endpoints import Acting
from api.conflicts import service
from api.conflicts.cursors import decode, encode
from api.conflicts.one_by_one import patience
from api.conflicts.rulings import Wanted
from api.conflicts.schemas import (
    BigIn,
    BulkIn,
    BulkOut,
    Case,
    CaseInFull,
    Decision,
    DecisionIn,
    RecordType,
)
from api.conflicts.threads import in_own_thread
from api.deps import App, IsAdmin
from api.errors import NotFound, StoreAway, Unauthorized, VersionsChanged, responses
from api.fields import Line
from api.paging import Page
from sinks import cases

router = APIRouter(tags=["conflicts"])

Text = Annotated[Line | None, Query(max_length=300)]
Cursor = Annotated[Line | None, Query(max_length=1000)]
Identity = Annotated[BigIn, Path(description="64-bit number as text.")]


@router.get("/v1/conflicts", responses=responses(Unauthorized, StoreAway))
def list_conflicts(
    app: App,
    _admin: IsAdmin,
    organization_id: Text = None,
    dataset_id: Annotated[Text, Query(description="Of any version.")] = None,
    record_type: RecordType | None = None,
    record_id: Text = None,
    open: Annotated[bool | None, Query(description="Whether somebody has to decide.")] = None,
    field: Annotated[Text, Query(description="One of the fields that differ.")] = None,
    decision: Annotated[Decision | None, Query(description="The latest decision.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Cursor = None,
    next: Annotated[Line | None, Query(max_length=1000, description="Another name for `cursor`.")] = None,
) -> Page[Case]:
    """List the cases, by organisation, record type and identity."""
    filters = {
        "organization_id": organization_id,
        "dataset_id": dataset_id,
        "record_type": record_type,
        "record_id": record_id,
        "open": open,
        "field": field,
        "decision": decision,
    }
    given = cursor or next
    rows = app.store.ask(cases.cases, filters, limit + 1, decode(given) if given else None)
    shown = [Case.model_validate(row) for row in rows[:limit]]
    return Page(items=shown, next=encode(rows[limit - 1]) if len(rows) > limit else None)


@router.get("/v1/conflicts/{record_type}/{identity}", responses=responses(Unauthorized, NotFound, StoreAway))
def get_conflict(app: App, _admin: IsAdmin, record_type: RecordType, identity: Identity) -> CaseInFull:
    """One case: its versions in full, what differs field by field, every decision ever made."""
    return service.in_full(app.store, record_type, int(identity))


@router.post(
    "/v1/conflicts/{record_type}/{identity}/decisions",
    status_code=201,
    responses=responses(Unauthorized, NotFound, VersionsChanged, StoreAway),
)
async def decide_conflict(
    app: App, actor: Acting, record_type: RecordType, identity: Identity, body: DecisionIn
) -> CaseInFull:
    """Decide one case, or undo the latest decision; the views follow at once. Answers with the case.

    An undo puts the decision before it in force again. Decisions are appended and never changed. Say with
    `latest_decision_id` what you have seen: without it, two people who undo at once take back two decisions.
    """
    wanted = Wanted(
        body.decision,
        body.decision_id or ids.new_id(ids.DECISION),
        actor.user_id,
        _numbers(body.selected),
        _numbers(body.known),
        body.latest_decision_id,
    )
    until = patience()

    def decided() -> CaseInFull:
        service.decide(app.store, app.db, actor, record_type, int(identity), wanted, until)
        return service.in_full(app.store, record_type, int(identity))

    return await in_own_thread(decided)


@router.post("/v1/conflicts/decisions", responses=responses(Unauthorized, StoreAway))
async def decide_conflicts(app: App, actor: Acting, body: BulkIn) -> BulkOut:
    """Decide many cases alike: those of a filter, page by page, or those of a list.

    A filter is worked off in the order of the list of cases: pass `next` as `cursor` until it is null.
    """
    until = patience()
    return await in_own_thread(lambda: service.decide_many(app.store, app.db, actor, body, until))


def _numbers(texts: list[str] | None) -> list[int] | None:
    return [int(text) for text in texts] if texts is not None else None
