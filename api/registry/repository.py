"""Reads and writes registry objects; every change goes into the outbox, and into the audit, with it."""

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api import outbox
from api.audit import service as audit
from api.audit.service import Actor
from api.db import violates
from api.errors import AlreadyExists, NotFound
from api.ids import is_id, new_id
from api.models import Registered
from api.paging import Page, PageQuery, encode
from api.registry import deeds

Kind = TypeVar("Kind", bound=Registered)
Output = TypeVar("Output")


def get(session: Session, kind: type[Kind], object_id: str, *, lock: bool = False) -> Kind:
    """The object of this id; `lock` keeps other writers away until the transaction ends.

    Raises:
        NotFound: there is none.
    """
    query = select(kind).where(kind.id == object_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session.scalar(query) if is_id(object_id) else None
    if found is None:
        raise NotFound
    return found


def add(session: Session, actor: Actor, prefix: str, item: Kind, within: str) -> Kind:
    """Store a new object and queue its message.

    Raises:
        AlreadyExists: its external id is taken within `within`.
    """
    item.id = new_id(prefix)
    session.add(item)
    _guarded(lambda: outbox.queue(session, item), within)
    audit.record(session, actor, [deeds.made(item)])
    return item


def add_as(session: Session, actor: Actor, item: Kind) -> Kind:
    """Store a new object that has its id already, and queue its message."""
    session.add(item)
    outbox.queue(session, item)
    audit.record(session, actor, [deeds.made(item)])
    return item


def change(
    session: Session,
    actor: Actor,
    item: Registered,
    changes: Mapping[str, Any],
    within: str = "",
    reason: str = "",
) -> bool:
    """Apply changes and queue the message; False, and no new version, if nothing differs.

    Args:
        reason: what is said about it in the audit.

    Raises:
        AlreadyExists: the new external id is taken within `within`.
    """
    real = {name: value for name, value in changes.items() if getattr(item, name) != value}
    for name, value in real.items():
        setattr(item, name, value)
    if real:
        _guarded(lambda: outbox.changed(session, item), within)
        audit.record(session, actor, deeds.changed(item, real, reason))
    return bool(real)


def page(
    session: Session,
    kind: type[Kind],
    filters: Mapping[str, Any],
    query: PageQuery,
    output: type[Output],
) -> Page[Output]:
    """One page of the objects whose fields equal the filters; None filters nothing."""
    rows = select(kind).where(kind.number > query.after).order_by(kind.number).limit(query.limit + 1)
    for name, value in filters.items():
        if value is not None:
            rows = rows.where(getattr(kind, name) == value)
    found = session.scalars(rows).all()
    shown = found[: query.limit]
    items = [output.model_validate(item) for item in shown]  # type: ignore[attr-defined]
    return Page(items=items, next=encode(shown[-1].number) if len(found) > query.limit else None)


def _guarded(write: Any, within: str) -> None:
    try:
        write()
    except IntegrityError as error:
        if violates(error, "external_id"):
            raise AlreadyExists("external_id", within) from None
        raise
