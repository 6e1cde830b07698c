"""Writes registry messages into the outbox, in the transaction that changes the object."""

import json

from sqlalchemy.orm import Session

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
