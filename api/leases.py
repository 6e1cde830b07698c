"""A lease in SQL: one holder at a time, so that two relays do not interleave."""

import secrets
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from api.db import Database, now_ms
from api.tables import Lease


class LeaseHolder:
    """One process's claim to a lease. Clocks of the holders may differ by less than the lease lasts.

    A lease lost all the same (a stopped process, a jumping clock) costs order, not truth: consumers
    drop lower versions and the reconciler republishes what compaction would lose.
    """

    def __init__(self, db: Database, name: str, lasts: timedelta) -> None:
        self._db = db
        self._name = name
        self._lasts = lasts
        self._owner = secrets.token_hex(16)

    def take(self) -> bool:
        """Take or renew the lease; False while somebody else holds it."""
        now = now_ms()
        try:
            with self._db.write() as session:
                query = select(Lease).where(Lease.name == self._name).with_for_update()
                lease = session.scalar(query)
                if lease is None:
                    session.add(Lease(name=self._name, owner=self._owner, until=now + self._lasts))
                elif lease.owner == self._owner or lease.until < now:
                    lease.owner, lease.until = self._owner, now + self._lasts
                else:
                    return False
        except IntegrityError:
            return False  # somebody made the row a moment before us
        return True

    def release(self) -> None:
        """Give the lease back, so that the next holder need not wait."""
        with self._db.write() as session:
            lease = session.get(Lease, self._name, with_for_update=True)
            if lease is not None and lease.owner == self._owner:
                session.delete(lease)
