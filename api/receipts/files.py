"""Receipts that SQL has: files, readings of sheets, windows, uploads and requests with payments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select
from sqlalchemy.orm import Session

from api.datasets.runs import text_hash
from api.models import Dataset
from api.receipts.names import from_ms
from api.receipts.taken import API, REQUEST_ENDS, Place, State, Taken, of_file
from api.tables import RunFile
from producers.contracts import FileState


@dataclass(frozen=True, slots=True)
class Filters:
    """Which receipts are asked for; None means any."""

    organization_id: str | None = None
    dataset_id: str | None = None
    source: str | None = None
    source_ref: str | None = None
    state: State | None = None
    since: datetime | None = None
    until: datetime | None = None


_OWNER: Final[ColumnElement[str]] = func.coalesce(RunFile.organization_id, Dataset.organization_id)


def _found() -> Select[RunFile, str]:
    return select(RunFile, _OWNER).join(Dataset, Dataset.id == RunFile.dataset_id, isouter=True)


def page(session: Session, filters: Filters, before: Place | None, limit: int, topic: str) -> list[Taken]:
    """At most `limit` receipts, newest first, those before a place.

    Args:
        topic: full name of the topic of payments.
    """
    rows = _found().where(*_conditions(filters))
    if before is not None:
        moment = from_ms(before[0])
        earlier = and_(RunFile.claimed_at == moment, RunFile.id < before[1])
        rows = rows.where(or_(RunFile.claimed_at < moment, earlier))
    rows = rows.order_by(RunFile.claimed_at.desc(), RunFile.id.desc()).limit(limit)
    return [of_file(file, owner, topic) for file, owner in session.execute(rows)]


def one(session: Session, receipt: str, topic: str) -> Taken | None:
    """The receipt with this id; that of a request with payments is what the request was answered with."""
    found = session.execute(_found().where(RunFile.id == receipt)).one_or_none()
    return of_file(found[0], found[1], topic) if found else None


def of_run(session: Session, run_id: str, topic: str) -> Sequence[Taken]:
    """The receipts of a run's files, in the order in which they were claimed."""
    rows = _found().where(RunFile.run_id == run_id).order_by(RunFile.number)
    return [of_file(file, owner, topic) for file, owner in session.execute(rows)]


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.organization_id is not None:
        found.append(_OWNER.in_([filters.organization_id]))
    if filters.dataset_id is not None:
        found.append(RunFile.dataset_id == filters.dataset_id)
    if filters.source is not None:
        found.append(RunFile.source == filters.source)
    if filters.source_ref is not None:
        found += [RunFile.ref_hash == text_hash(filters.source_ref), RunFile.source_ref == filters.source_ref]
    if filters.since is not None:
        found.append(RunFile.claimed_at >= filters.since)
    if filters.until is not None:
        found.append(RunFile.claimed_at < filters.until)
    if filters.state is not None:
        found.append(_in_state(filters.state))
    return found


def _in_state(state: State) -> ColumnElement[bool]:
    """The condition that `of_file` gives this state."""
    open_or_replaced = (FileState.CLAIMED, FileState.REPLACED)
    given_up = and_(RunFile.source == API, RunFile.claimed_at < datetime.now(UTC) - REQUEST_ENDS)
    match state:
        case State.READING:
            return and_(RunFile.state == FileState.CLAIMED, not_(given_up))
        case State.UNACKNOWLEDGED:
            return and_(RunFile.state == FileState.CLAIMED, given_up)
        case State.REPLACED:
            return RunFile.state == FileState.REPLACED
        case State.REFUSED:
            return and_(RunFile.state.not_in(open_or_replaced), RunFile.error.is_not(None))
        case State.PUBLISHED:
            return and_(RunFile.state.not_in(open_or_replaced), RunFile.error.is_(None))
