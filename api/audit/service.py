"""Writes and reads the audit: one entry per deed, in the transaction that comes before it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from api.db import now_ms
from api.paging import PageQuery
from api.tables import AuditEntry

MAX_SUBJECT: Final = 400
"""Longest name of what a deed was done to, in characters."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is acting, and in which request.

    Attributes:
        user_id: id of the user, or the name of a process.
        request_id: the X-Request-ID, which the logs carry too.
    """

    user_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that is done.

    Attributes:
        action: what, as `area.verb`: `quarantine.replay`.
        subject_kind: kind of what it is done to: `quarantined_row`, `dataset`, ….
        subject: its name within the kind.
        organization_id: whose it is; empty when it is nobody's.
        details: codes, names of fields and counts. Never a value of a row: this is read by people who
            may not see personal data.
    """

    action: str
    subject_kind: str
    subject: str
    organization_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def record(session: Session, actor: Actor, deeds: Iterable[Deed]) -> None:
    """Append one entry per deed to the session's transaction.

    Commit it before the deed itself where that is outside of SQL: a deed without an entry cannot be
    found, an entry without its deed can be looked into.

    Raises:
        ValueError: a subject is longer than `MAX_SUBJECT`.
    """
    at = now_ms()
    rows = [
        {
            "at": at,
            "user_id": actor.user_id,
            "request_id": actor.request_id,
            "action": deed.action,
            "subject_kind": deed.subject_kind,
            "subject": _bounded(deed.subject),
            # a direct publisher's header may hold NUL, which PostgreSQL refuses
            "organization_id": deed.organization_id.replace("\0", "\ufffd"),
            "details": dict(deed.details),
        }
        for deed in deeds
    ]
    if rows:
        session.execute(insert(AuditEntry), rows)


def _bounded(subject: str) -> str:
    if len(subject) > MAX_SUBJECT:
        raise ValueError(f"a subject of the audit has {len(subject)} characters, at most {MAX_SUBJECT} fit")
    return subject


def entries(
    session: Session,
    equal: Mapping[str, str | None],
    since: datetime | None,
    until: datetime | None,
    query: PageQuery,
) -> Sequence[AuditEntry]:
    """One more than a page of entries, oldest first.

    Args:
        equal: column → value that it must have; None filters nothing.
        since: first moment, aware; `until` is the first one that is not wanted any more.
    """
    rows = select(AuditEntry).where(AuditEntry.number > query.after)
    for name, value in equal.items():
        if value is not None:
            rows = rows.where(getattr(AuditEntry, name) == value)
    if since is not None:
        rows = rows.where(AuditEntry.at >= since)
    if until is not None:
        rows = rows.where(AuditEntry.at < until)
    return session.scalars(rows.order_by(AuditEntry.number).limit(query.limit + 1)).all()
