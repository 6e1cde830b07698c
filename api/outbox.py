"""Writes registry messages into the outbox, in the transaction that changes the object."""

import json
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.db import Database, now_ms
from api.models import Registered
from api.tables import Lease, OutboxRow

RELAY: Final = "outbox-relay"
"""Name of the lease that the relay holds while it works."""
ANNOUNCED_WITHIN_S: Final = 2.0
_LOOK_S: Final = 0.05


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


def wait_until_announced(
    db: Database, object_ids: Sequence[str], limit_s: float = ANNOUNCED_WITHIN_S
) -> bool:
    """Wait until every change of these objects is in its topic; blocks, at most `limit_s` seconds.

    Whoever is given a token may use it at once, and a row that overtakes its own device would be refused, and
    replayed a moment later. Nobody is waited for while no relay is at work. Returns whether all is announced.
    """
    until = time.monotonic() + limit_s
    waiting = exists().where(OutboxRow.object_id.in_(object_ids), OutboxRow.state == "new")
    working = exists().where(Lease.name == RELAY, Lease.until >= now_ms())
    while True:
        with db.read() as session:
            left, alive = session.execute(select(waiting, working)).one()
        if not left or not alive or time.monotonic() >= until:
            return not left
        time.sleep(_LOOK_S)
