"""Cases read from ClickHouse, decisions appended to it: one by one and in bulk."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from clickhouse_connect.driver.client import Client

from api import contents, ids
from api.audit import service as audit
from api.audit.service import Actor, Deed
from api.conflicts import cursors
from api.conflicts.one_by_one import OneByOne
from api.conflicts.rulings import Wanted, ruling
from api.conflicts.schemas import (
    BulkIn,
    BulkOut,
    CaseInFull,
    CaseNamed,
    CaseRef,
    DecisionMade,
    FieldDifference,
    FullVersion,
    Skipped,
    VersionValue,
)
from api.db import Database
from api.errors import ApiError, Invalid, NotFound
from api.store import Store
from sinks import cases
from sinks.restore import server_now_ms, stored_payments, stored_reads
from sinks.tables import batch_of_rows

log = structlog.get_logger(__name__)

Rows = list[dict[str, Any]]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CASE: Final = "conflict"
"""Kind of the subject in the audit; its name is that of the case's address."""


def in_full(store: Store, record_type: str, identity: int) -> CaseInFull:
    """One case with all versions and decisions.

    Raises:
        NotFound: the record is unknown or has one version.
        StoreAway: ClickHouse does not answer.
    """
    case = _case(store, record_type, identity)
    stored = {row["content_hash"]: row for row in store.ask(_versions, record_type, identity)}
    rows = [stored[version["content_hash"]] for version in case["versions"]]
    differences = [
        FieldDifference(
            field=field,
            values=[
                VersionValue(content_hash=row["content_hash"], value=contents.text_of(row, field))
                for row in rows
            ],
        )
        for field in contents.comparable(case["differing_fields"], rows)
    ]
    versions = [
        FullVersion(**version, fields=contents.texts(row))
        for version, row in zip(case["versions"], rows, strict=True)
    ]
    made = [DecisionMade(**row) for row in _about(case, store.ask(cases.decisions_about, [identity]))]
    return CaseInFull(**{**case, "versions": versions}, differences=differences, decisions=made)


def decide(
    store: Store,
    db: Database,
    actor: Actor,
    record_type: str,
    identity: int,
    wanted: Wanted,
    until: float,
) -> None:
    """Append a decision about one case; one that is stored already under its id is not appended again.

    Args:
        until: when others are not waited for any more, see `OneByOne`.

    Raises:
        NotFound: there is no such case.
        Conflict, Invalid: see `rulings.ruling`.
        DecidersBusy: others decide at the same time, for too long.
        StoreAway: ClickHouse does not answer; whether the decision was stored is unknown, and sending
            it again under the same id is safe.
    """
    case = _case(store, record_type, identity)
    with OneByOne(db, [case["organization_id"]], until=until) as turn:
        history = store.ask(cases.decisions_about, [identity])
        row = ruling(case, _about(case, history), wanted, _now(store))
        if row is not None:
            _audit(db, actor, [row])
            turn.keep()
            _append(store, [row], wanted)


def decide_many(store: Store, db: Database, actor: Actor, body: BulkIn, until: float) -> BulkOut:
    """Decide the cases of a list, or the next ones of a filter, with one insert.

    Raises:
        BadCursor: the cursor did not come from an answer before.
        DecidersBusy, StoreAway: as for `decide`; none or all of the cases are decided.
    """
    decision_id = body.decision_id or ids.new_id(ids.DECISION)
    wanted = Wanted(body.decision, decision_id, actor.user_id, rule=body.rule())
    out = BulkOut(
        decision_id=decision_id, dry_run=body.dry_run, decided=[], already=[], skipped=[],
        skipped_by_code={}, next=None,
    )  # fmt: skip
    if body.dry_run:
        _rule(store, body, wanted, _meant(store, body, out), out)
    else:
        with OneByOne(db, _organizations(store, body), until=until) as turn:
            # looked for in turn: what somebody decided meanwhile is not open any more
            rows = _rule(store, body, wanted, _meant(store, body, out), out)
            if rows:
                _audit(db, actor, rows)
                turn.keep()
                _append(store, rows, wanted)
    out.skipped_by_code = dict(Counter(skipped.code for skipped in out.skipped))
    return out


def _organizations(store: Store, body: BulkIn) -> set[str]:
    """Whose cases a request may be about."""
    if body.filter is not None:
        return {body.filter.organization_id}
    named = [int(case.identity) for case in body.cases or []]
    return {case["organization_id"] for case in store.ask(cases.cases_of, named)}


def _meant(store: Store, body: BulkIn, out: BulkOut) -> Rows:
    """The cases of a request as they are now."""
    return _listed(store, body, out) if body.cases else _filtered(store, body, out)


def _rule(store: Store, body: BulkIn, wanted: Wanted, found: Rows, out: BulkOut) -> Rows:
    """The decisions to append; notes what becomes of each case."""
    named = {(case.record_type, int(case.identity)): case for case in body.cases or []}
    history = defaultdict(list)
    for made in store.ask(cases.decisions_about, [case["identity"] for case in found]):
        history[made["organization_id"], made["record_type"], made["identity"]].append(made)
    now, rows = _now(store), []
    for case in found:
        name = case["record_type"], case["identity"]
        asked = replace(wanted, **_seen(named[name])) if name in named else wanted
        try:
            row = ruling(case, history[case["organization_id"], *name], asked, now)
        except ApiError as refusal:
            out.skipped.append(_skipped(*name, refusal))
            continue
        (out.already if row is None else out.decided).append(CaseRef.of(case))
        rows += [row] if row is not None else []
    return rows


def _seen(case: CaseNamed) -> dict[str, Any]:
    """What the person says he has seen of a case of a list."""
    known = [int(content) for content in case.known] if case.known is not None else None
    return {"known": known, "latest": case.latest_decision_id}


def _now(store: Store) -> datetime:
    """The store's clock: the one that rules of workers are dated by, too."""
    return _EPOCH + timedelta(milliseconds=store.ask(server_now_ms))


def _audit(db: Database, actor: Actor, rows: Rows) -> None:
    """One entry per case, committed before the decisions are stored: those in bulk share their request.

    The filter of a decision in bulk may hold values of rows; the history of the case, found by the id of the
    decision, has it.
    """
    deeds = [
        Deed(
            "conflict.undo" if row["decision"] == "undo" else "conflict.decide",
            CASE,
            f"{row['record_type']}/{row['identity']}",
            row["organization_id"],
            {
                "decision": row["decision"],
                "decision_id": row["decision_id"],
                "known": len(row["known"]),
                "selected": len(row["selected"]),
            },
        )
        for row in rows
    ]
    with db.write() as session:
        audit.record(session, actor, deeds)


def _append(store: Store, rows: Rows, wanted: Wanted) -> None:
    store.append("decisions", batch_of_rows("decisions", rows))
    log.info(
        "decided",
        decision=wanted.decision,
        decision_id=wanted.decision_id,
        user_id=wanted.decided_by,
        cases=len(rows),
    )


def _filtered(store: Store, body: BulkIn, out: BulkOut) -> Rows:
    """The next cases of a filter; notes where the page after them begins."""
    filters: dict[str, Any] = body.filter.model_dump() if body.filter else {}
    if filters["open"] is None:
        filters |= {"decided": True} if body.decision == "undo" else {"open": True}
    after = cursors.decode(body.cursor) if body.cursor else None
    found: Rows = store.ask(cases.cases, filters, body.limit + 1, after)
    if len(found) > body.limit:
        out.next = cursors.encode(found[body.limit - 1])
    return found[: body.limit]


def _listed(store: Store, body: BulkIn, out: BulkOut) -> Rows:
    """The cases of a list, each once and in its order; names of no case are skipped."""
    named = {(case.record_type, int(case.identity)): None for case in body.cases or []}
    found = {
        (row["record_type"], row["identity"]): row
        for row in store.ask(cases.cases_of, [identity for _, identity in named])
    }
    out.skipped += [_skipped(*name, NotFound(_NO_CASE)) for name in named if name not in found]
    return [found[name] for name in named if name in found]


_NO_CASE = "There is no such record with several versions."


def _skipped(record_type: str, identity: int, refusal: ApiError) -> Skipped:
    """A field's fault says more than "invalid"."""
    fault = refusal.errors[0] if isinstance(refusal, Invalid) and refusal.errors else refusal
    return Skipped(record_type=record_type, identity=identity, code=fault.code, detail=fault.detail)


def _case(store: Store, record_type: str, identity: int) -> dict[str, Any]:
    found = store.ask(cases.cases, {"record_type": record_type, "identities": [identity]}, 1)
    if not found:
        raise NotFound(_NO_CASE)
    case: dict[str, Any] = found[0]
    return case


def _about(case: dict[str, Any], history: Sequence[dict[str, Any]]) -> Rows:
    """The decisions about one case, among those about several."""
    names = ("organization_id", "record_type", "identity")
    return [row for row in history if all(row[name] == case[name] for name in names)]


def _versions(client: Client, record_type: str, identity: int) -> Rows:
    read: Callable[[Client, list[int]], Rows] = stored_payments if record_type == "payment" else stored_reads
    return read(client, [identity])
