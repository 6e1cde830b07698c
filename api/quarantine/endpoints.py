"""/v1/quarantine: refused rows listed, counted, exported, opened, replayed, discarded, restored."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from api.audit.endpoints import Acting
from api.deps import App, IsAdmin
from api.errors import BrokerAway, Invalid, NotFound, StoreAway, Unauthorized, responses
from api.fields import SOURCE_NAMED, Line
from api.paging import Page
from api.quarantine import bulk
from api.quarantine.cursors import decode, encode
from api.quarantine.errors import CannotAct
from api.quarantine.export import csv_parts
from api.quarantine.schemas import (
    ALL,
    FIRST_DAY,
    LAST_DAY,
    OPEN,
    ActedOut,
    BulkDiscardIn,
    BulkIn,
    BulkOut,
    CountsOut,
    DiscardIn,
    OriginalOut,
    RecordType,
    RefusedDetail,
    RefusedOut,
    ReplayIn,
    State,
    Text,
)
from sinks import quarantine, quarantine_actions
from sinks.why import sources_named

router = APIRouter(tags=["quarantine"])

MAX_COUNTS = 5000
LISTED = responses(Unauthorized, StoreAway)
FOUND = responses(Unauthorized, NotFound, StoreAway)
ACTED = responses(Unauthorized, NotFound, CannotAct, BrokerAway, StoreAway)
Topic = Annotated[Line, Path(max_length=249)]
Position = Annotated[int, Path(ge=0, lt=1 << 64, description="`position` of the row.")]
Cursor = Annotated[Line | None, Query(max_length=1000)]


class CsvResponse(StreamingResponse):
    """A CSV file, sent while it is made."""

    media_type = "text/csv"


def filters(
    app: App,
    _admin: IsAdmin,
    reason: Annotated[
        Line | None, Query(max_length=300, description="A whole reason, or its code alone.")
    ] = None,
    dataset_id: Annotated[Text | None, Query()] = None,
    organization_id: Annotated[Text | None, Query()] = None,
    record_type: Annotated[RecordType | None, Query()] = None,
    record_id: Annotated[Text | None, Query(description="The ID that the sender gave the row.")] = None,
    source_ref: Annotated[Text | None, Query()] = None,
    source: Annotated[Text | None, Query(description=SOURCE_NAMED)] = None,
    line: Annotated[int | None, Query(ge=0, lt=1 << 32)] = None,
    state: Annotated[
        State, Query(description="How the rows stand; `all` for any, but for `redelivered` records.")
    ] = OPEN,
    from_day: Annotated[
        date | None, Query(ge=FIRST_DAY, le=LAST_DAY, description="First day of reception, UTC.")
    ] = None,
    to_day: Annotated[
        date | None, Query(ge=FIRST_DAY, le=LAST_DAY, description="Last day of reception, UTC.")
    ] = None,
) -> dict[str, Any]:
    """Dependency: the filters that were given; open rows are meant unless another state is asked for.

    Raises:
        StoreAway: what a `source` stands for cannot be told.
    """
    if source is not None and source_ref is not None:
        raise Invalid.field("source", "one_of", "Give either `source` or `source_ref`.")
    given = bulk.given(
        {
            "reason": reason,
            "dataset_id": dataset_id,
            "organization_id": organization_id,
            "record_type": record_type,
            "record_id": record_id,
            "source_ref": source_ref,
            "line": line,
            "state": None if state == ALL else state,
            "from_day": from_day,
            "to_day": to_day,
        }
    )
    if source is not None:
        given["source_refs"] = app.store.ask(sources_named, source, given, "quarantine_rows")
    return given


Filters = Annotated[dict[str, Any], Depends(filters)]


@router.get("/v1/quarantine", responses=LISTED)
def list_refused(
    app: App,
    _admin: IsAdmin,
    wanted: Filters,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Cursor = None,
    next: Annotated[Line | None, Query(max_length=1000, description="Another name for `cursor`.")] = None,
) -> Page[RefusedOut]:
    """Refused rows in order of topic and position; the open ones unless another `state` is asked for."""
    given = cursor or next
    rows = app.store.ask(quarantine.refused, wanted, limit + 1, decode(given) if given else None)
    shown = [RefusedOut.of(row) for row in rows[:limit]]
    more = encode((shown[-1].topic, int(shown[-1].position))) if len(rows) > limit else None
    return Page(items=shown, next=more)


@router.get("/v1/quarantine/counts", responses=LISTED)
def count_refused(app: App, _admin: IsAdmin, wanted: Filters) -> CountsOut:
    """How many refused rows are open (or in another `state`), by day of reception, dataset and reason."""
    found = app.store.ask(quarantine.counts, wanted, MAX_COUNTS + 1)
    total = app.store.ask(quarantine.count, wanted)
    return CountsOut.model_validate(
        {"total": total, "items": found[:MAX_COUNTS], "more": len(found) > MAX_COUNTS}
    )


@router.get("/v1/quarantine.csv", response_class=CsvResponse, responses=LISTED)
def export_refused(app: App, _admin: IsAdmin, wanted: Filters) -> CsvResponse:
    """The same rows as a file, without a limit. Cells that a spreadsheet would run begin with `'`."""
    name = 'attachment; filename="quarantine.csv"'
    return CsvResponse(csv_parts(app.store, wanted), headers={"Content-Disposition": name})


@router.post("/v1/quarantine/replays", responses=ACTED)
def replay_many(app: App, actor: Acting, body: BulkIn) -> BulkOut:
    """Replay open rows as they are, after what refused them was cured.

    Rows that wait for an organisation, dataset or device replay themselves and are left to that.
    Repeat with `next` until it is null; sending the same request again does no harm.
    """
    return bulk.run(app.store, app.desk, body, lambda rows: app.desk.replay(actor, rows, {}), waiting=False)


@router.post("/v1/quarantine/discards", responses=ACTED)
def discard_many(app: App, actor: Acting, body: BulkDiscardIn) -> BulkOut:
    """Give open rows up, those that wait for a registration too."""
    return bulk.run(
        app.store, app.desk, body, lambda rows: app.desk.discard(actor, rows, body.why), waiting=True
    )


@router.get("/v1/quarantine/{topic}/{position}", responses=FOUND)
def get_refused(app: App, _admin: IsAdmin, topic: Topic, position: Position) -> RefusedDetail:
    """One refused row, what was done about it, and what became of its replays."""
    found = app.store.ask(quarantine.refused, {"topic": topic, "position": position}, 1)
    if not found:
        raise NotFound
    actions = app.store.ask(quarantine_actions.history, topic, position)
    replays = app.store.ask(quarantine.replays_of, found[0]["organization_id"], topic, position)
    place = topic, position
    records = [at for _, at in app.store.ask(quarantine_actions.records_of, [place])[place]]
    return RefusedDetail.of(found[0], actions=actions, replays=replays, records=records)


@router.post("/v1/quarantine/{topic}/{position}/original", responses=ACTED)
def open_original(
    app: App, actor: Acting, topic: Topic, position: Position, response: Response
) -> OriginalOut:
    """Open the seal of a row, to correct it. It holds personal data; each opening is in the audit."""
    original = app.desk.original(actor, app.desk.row(topic, position))
    response.headers["Cache-Control"] = "no-store"
    fields = None if original.cells is None else {**original.cells, **original.kept}
    text = original.text.decode(errors="replace") if fields is None else None
    return OriginalOut(topic=topic, position=str(position), fields=fields, text=text)


@router.post("/v1/quarantine/{topic}/{position}/replay", status_code=202, responses=ACTED)
def replay_one(
    app: App, actor: Acting, topic: Topic, position: Position, body: ReplayIn | None = None
) -> ActedOut:
    """Send a row again, corrected or as it is. 202: the broker has it; the row tells its outcome later."""
    changes = body.changes if body else {}
    done = bulk.only(app.desk.replay(actor, [app.desk.row(topic, position)], changes))
    return ActedOut(topic=topic, position=str(position), done="replayed", changed=done.changed)


@router.post("/v1/quarantine/{topic}/{position}/discard", responses=ACTED)
def discard_one(app: App, actor: Acting, topic: Topic, position: Position, body: DiscardIn) -> ActedOut:
    """Give a row up: nothing replays it any more."""
    bulk.only(app.desk.discard(actor, [app.desk.row(topic, position)], body.reason))
    return ActedOut(topic=topic, position=str(position), done="discarded", changed=False)


@router.post("/v1/quarantine/{topic}/{position}/restore", responses=ACTED)
def restore_one(app: App, actor: Acting, topic: Topic, position: Position) -> ActedOut:
    """Undo the discard of a row: it is open again."""
    bulk.only(app.desk.restore(actor, [app.desk.row(topic, position)]))
    return ActedOut(topic=topic, position=str(position), done="restored", changed=False)
