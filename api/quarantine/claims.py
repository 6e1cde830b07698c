"""Claims on refused rows in SQL: one request at a time acts on a row, whatever process it runs in.

A claim is made, with its audit entry, before anything is sent, and nothing needs recording afterwards: a
process that dies at any point leaves a claim that keeps everybody else away until it is known from the
ledger what became of the row (`api/quarantine/settling.py`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from api.audit import service as audit
from api.audit.service import Actor, Deed
from api.db import Database, now_ms
from api.tables import QuarantineClaim
from sinks.chunks import chunks
from sinks.quarantine import Place

Owned = tuple[str, Place]
"""Organisation and place of a refused row."""


class Claims:
    """The table `quarantine_claims`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def take(
        self, claim_id: str, rows: Sequence[Owned], actor: Actor, deeds: Mapping[Place, Deed]
    ) -> set[Place]:
        """Claim rows, all that nobody else has claimed, and note each deed in the audit; returns which."""
        with self._db.write() as session:
            taken = self._insert(session, claim_id, rows)
            audit.record(session, actor, [deeds[place] for _, place in rows if place in taken])
        return taken

    def _insert(self, session: Session, claim_id: str, rows: Sequence[Owned]) -> set[Place]:
        now = now_ms()
        values = [
            {
                "topic": topic,
                "position": str(at),
                "organization_id": json.dumps(owner),
                "claim_id": claim_id,
                "claimed_at": now,
            }
            for owner, (topic, at) in rows
        ]
        dialect: Any = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        session.execute(dialect.insert(QuarantineClaim).on_conflict_do_nothing(), values)
        mine = select(QuarantineClaim).where(QuarantineClaim.claim_id == claim_id)
        return {place_of(claim) for claim in session.scalars(mine)}

    def of(self, places: Iterable[Place]) -> list[QuarantineClaim]:
        """The claims on these rows."""
        found: list[QuarantineClaim] = []
        key = tuple_(QuarantineClaim.topic, QuarantineClaim.position)
        with self._db.read() as session:
            for some in chunks(places, 400):
                wanted = [(topic, str(at)) for topic, at in some]
                found += session.scalars(select(QuarantineClaim).where(key.in_(wanted))).all()
        return found

    def oldest(self, limit: int, before: datetime) -> Sequence[QuarantineClaim]:
        """Claims made before a moment, oldest first."""
        query = select(QuarantineClaim).where(QuarantineClaim.claimed_at < before)
        with self._db.read() as session:
            return session.scalars(query.order_by(QuarantineClaim.claimed_at).limit(limit)).all()

    def release(self, claims: Iterable[tuple[Place, str]], actor: Actor, deeds: Iterable[Deed] = ()) -> None:
        """End claims, each given with its claim id: one that somebody else has made since stays."""
        key = tuple_(QuarantineClaim.topic, QuarantineClaim.position, QuarantineClaim.claim_id)
        with self._db.write() as session:
            for some in chunks(claims, 300):
                wanted = [(topic, str(at), claim_id) for (topic, at), claim_id in some]
                session.execute(delete(QuarantineClaim).where(key.in_(wanted)))
            audit.record(session, actor, deeds)


def owned_by(claim: QuarantineClaim) -> Owned:
    """Organisation and place of the row that a claim is on."""
    return json.loads(claim.organization_id), place_of(claim)


def place_of(claim: QuarantineClaim) -> Place:
    """The place that a claim is on."""
    return claim.topic, int(claim.position)
