"""Cases read from ClickHouse, decisions appended to it: one by one and in bulk."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
from clickhouse_connect.driver.client import Client

from api import contents, ids
from api.conflicts import cursors
from api.conflicts.rulings import Wanted, ruling
from api.conflicts.schemas import (
    BulkIn,
    BulkOut,
    CaseInFull,
    CaseRef,
    DecisionMade,
    FieldDifference,
    FullVersion,
    Skipped,
    VersionValue,
)
from api.db import now_ms
from api.errors import ApiError, NotFound
from api.store import Store
from sinks import cases
from sinks.restore import stored_payments, stored_reads
from sinks.tables import batch_of_rows

log = structlog.get_logger(__name__)

Rows = list[dict[str, Any]]


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


def decide(store: Store, record_type: str, identity: int, wanted: Wanted) -> None:
    """Append a decision about one case; one that is stored already under its id is not appended again.

    Raises:
        NotFound: there is no such case.
        Conflict, Invalid: see `rulings.ruling`.
        StoreAway: ClickHouse does not answer; whether the decision was stored is unknown, and sending
            it again under the same id is safe.
    """
    case = _case(store, record_type, identity)
    history = store.ask(cases.decisions_about, [identity])
    row = ruling(case, _about(case, history), wanted, now_ms())
    if row is not None:
        _append(store, [row], wanted)


def decide_many(store: Store, body: BulkIn, decided_by: str) -> BulkOut:
    """Decide the cases of a list, or the next ones of a filter, with one insert.

    Raises:
        BadCursor: the cursor did not come from an answer before.
        StoreAway: as for `decide`; none or all of the cases are decided.
    """
    decision_id = body.decision_id or ids.new_id(ids.DECISION)
    wanted = Wanted(body.decision, decision_id, decided_by, rule=body.rule())
    out = BulkOut(
        decision_id=decision_id, dry_run=body.dry_run, decided=[], already=[], skipped=[], next=None
    )
    found = _listed(store, body, out) if body.cases else _filtered(store, body, out)
    known = {(c.record_type, int(c.identity)): c.known for c in body.cases or []}
    history = store.ask(cases.decisions_about, [case["identity"] for case in found])
    now, rows = now_ms(), []
    for case in found:
        seen = known.get((case["record_type"], case["identity"]))
        asked = replace(wanted, known=[int(content) for content in seen] if seen is not None else None)
        try:
            row = ruling(case, _about(case, history), asked, now)
        except ApiError as refusal:
            out.skipped.append(_skipped(case["record_type"], case["identity"], refusal))
            continue
        (out.already if row is None else out.decided).append(CaseRef.of(case))
        rows += [row] if row is not None else []
    if rows and not body.dry_run:
        _append(store, rows, wanted)
    return out


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
    return Skipped(record_type=record_type, identity=identity, code=refusal.code, detail=refusal.detail)


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
