"""Writes registry messages into the outbox, in the transaction that changes the object."""

import json

from sqlalchemy import ColumnElement, exists
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.db import now_ms
from api.models import Registered
from api.tables import OutboxRow


def changed(session: Session, item: Registered) -> None:
    """Count the change of an existing object (version + 1) and queue its message."""
    item.version += 1
    item.changed_at = now_ms()
    queue(session, item)


def queue(session: Session, item: Registered) -> None:
    """Queue the object's message as it is now. Flushes, so that a new object has its number."""
    session.flush()
    payload = json.dumps(item.message(), ensure_ascii=False, separators=(",", ":"))
    session.add(OutboxRow(kind=item.__tablename__, object_id=item.id, version=item.version, payload=payload))


def announced(object_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Condition: every change of the object is in its topic, so the streams can know it."""
    return ~exists().where(OutboxRow.object_id == object_id, OutboxRow.state == "new")
