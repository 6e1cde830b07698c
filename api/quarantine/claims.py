"""Claims on refused rows in SQL: one request at a time acts on a row, whatever process it runs in.

A claim is made, with its audit entry, before anything is sent, and nothing needs recording afterwards: a
process that dies at any point leaves a claim that keeps everybody else away until it is known from the
ledger what became of the row (`api/quarantine/settling.py`).

A received row may lie in several records; the places of all of them are claimed together. Of two requests for
one row the later one knows every place that the earlier one claimed, so they meet.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

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
_KEY: Final = (QuarantineClaim.topic, QuarantineClaim.position, QuarantineClaim.claim_id)


class Claims:
    """The table `quarantine_claims`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def take(
        self,
        claim_id: str,
        rows: Sequence[Owned],
        records: Mapping[Place, Sequence[Place]],
        actor: Actor,
        deeds: Mapping[Place, Deed],
    ) -> set[Place]:
        """Claim rows that nobody else has claimed, and note each deed in the audit; returns which.

        Args:
            records: for each row the places of all of its records.
        """
        with self._db.write() as session:
            mine = self._insert(session, claim_id, rows, records)
            taken = {place for _, place in rows if mine.issuperset(records[place])}
            kept = {at for place in taken for at in records[place]}
            _delete(session, [(at, claim_id) for at in mine - kept])
            audit.record(session, actor, [deeds[place] for _, place in rows if place in taken])
        return taken

    def _insert(
        self, session: Session, claim_id: str, rows: Sequence[Owned], records: Mapping[Place, Sequence[Place]]
    ) -> set[Place]:
        now = now_ms()
        owners = {at: owner for owner, place in rows for at in records[place]}
        values = [
            {
                "topic": topic,
                "position": str(at),
                "organization_id": json.dumps(owner),
                "claim_id": claim_id,
                "claimed_at": now,
            }
            # in one order, or two requests would wait for each other
            for (topic, at), owner in sorted(owners.items())
        ]
        dialect: Any = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        session.execute(dialect.insert(QuarantineClaim).on_conflict_do_nothing(), values)
        mine = select(QuarantineClaim).where(QuarantineClaim.claim_id == claim_id)
        return {place_of(claim) for claim in session.scalars(mine)} & owners.keys()

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

    def release(
        self,
        claims: Iterable[tuple[Place, str]],
        actor: Actor,
        deeds: Mapping[tuple[Place, str], Deed] | None = None,
    ) -> set[tuple[Place, str]]:
        """End claims, each given with its claim id: one that somebody else has made since stays.

        Args:
            deeds: what is noted in the audit of claims that were ended here, not by somebody else before.

        Returns:
            Which were ended here.
        """
        with self._db.write() as session:
            ended = _delete(session, claims)
            audit.record(session, actor, [deed for key, deed in (deeds or {}).items() if key in ended])
        return ended


def _delete(session: Session, claims: Iterable[tuple[Place, str]]) -> set[tuple[Place, str]]:
    key = tuple_(*_KEY)
    ended: set[tuple[Place, str]] = set()
    for some in chunks(claims, 300):
        wanted = [(topic, str(at), claim_id) for (topic, at), claim_id in some]
        gone = delete(QuarantineClaim).where(key.in_(wanted)).returning(*_KEY)
        ended |= {((topic, int(at)), claim_id) for topic, at, claim_id in session.execute(gone)}
    return ended


def owned_by(claim: QuarantineClaim) -> Owned:
    """Organisation and place of the row that a claim is on."""
    return json.loads(claim.organization_id), place_of(claim)


def place_of(claim: QuarantineClaim) -> Place:
    """The place that a claim is on."""
    return claim.topic, int(claim.position)
