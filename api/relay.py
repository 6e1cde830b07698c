"""Publishes the outbox: unpublished rows in order, acknowledged before they are marked, by one relay."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from api.db import Database, now_ms
from api.leases import LeaseHolder
from api.outbox import RELAY
from api.relay_metrics import OUTBOX_FAILURES, OUTBOX_PUBLISHED, OUTBOX_WAITING
from api.tables import OutboxRow
from producers.publisher import Publisher, PublishError, Record
from schemas.topics import REGISTRY

log = structlog.get_logger(__name__)

BATCH: Final = 500
WAKE_S: Final = 0.15
LEASE: Final = timedelta(seconds=20)
PUBLISH_S: Final = 8.0
KEEP_SENT: Final = timedelta(days=7)
_RENEW_S: Final = 5.0
_TIDY_S: Final = 3600.0


class Relay:
    """Moves outbox rows to the registry topics. Any number may run; one at a time publishes.

    Delivery is at least once: a relay that dies between acknowledgement and mark repeats the batch in
    the same order, and consumers drop versions that they know.

    Args:
        db: the database that holds the outbox.
        publisher: acknowledged way into the topics; started by the wiring.
        topic_prefix: prefix of every topic's name.
    """

    def __init__(self, db: Database, publisher: Publisher, topic_prefix: str) -> None:
        self._db = db
        self._publisher = publisher
        self._prefix = topic_prefix
        self._lease = LeaseHolder(db, RELAY, LEASE)
        self._held_until = 0.0
        self._asked_at = float("-inf")
        self._tidied = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop` is set. A broker or database that is away is waited for."""
        pause = WAKE_S
        while not stop.is_set():
            try:
                await self._be_known()
                sent = await self.step()
                pause = 0 if sent == BATCH else WAKE_S
            except (PublishError, SQLAlchemyError) as error:
                part = "sql" if isinstance(error, SQLAlchemyError) else "broker"
                OUTBOX_FAILURES.labels(part).inc()
                log.warning("relay_waits", part=part, error=type(error).__name__)
                pause = min(max(pause, WAKE_S) * 2, 2.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()
        with contextlib.suppress(SQLAlchemyError):
            await asyncio.to_thread(self._lease.release)

    async def step(self) -> int:
        """Publish one batch, if there is one and the lease is ours. Returns how many rows went out.

        Raises:
            PublishError: not all were acknowledged; none is marked, the batch is repeated.
        """
        rows = await asyncio.to_thread(self._waiting)
        if not rows or not await self._leads():
            return 0
        await self._publisher.publish_all([self._record(row) for row in rows], PUBLISH_S)
        await asyncio.to_thread(self._mark, [row.seq for row in rows])
        for row in rows:
            OUTBOX_PUBLISHED.labels(row.kind).inc()
        return len(rows)

    async def _be_known(self) -> None:
        """Hold the lease also while nothing is to be sent: who waits for the outbox sees us at work."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= _RENEW_S:
            self._asked_at = now
            await self._leads()

    async def _leads(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= self._held_until:
            if not await asyncio.to_thread(self._lease.take):
                return False
            # Renewed long before it ends: a publish that waits PUBLISH_S must still be covered.
            self._held_until = now + _RENEW_S
        if now - self._tidied > _TIDY_S:
            self._tidied = now
            await asyncio.to_thread(self._tidy)
        return True

    def _record(self, row: OutboxRow) -> Record:
        return Record(
            topic=REGISTRY[row.kind].full_name(self._prefix),
            key=row.object_id.encode(),
            value=row.payload.encode(),
            partition=0,
        )

    def _waiting(self) -> Sequence[OutboxRow]:
        query = select(OutboxRow).where(OutboxRow.state == "new").order_by(OutboxRow.seq).limit(BATCH)
        with self._db.read() as session:
            rows = session.scalars(query).all()
            waiting = Counter(row.kind for row in rows)
            if len(rows) == BATCH:
                counts = select(OutboxRow.kind, func.count()).where(OutboxRow.state == "new")
                found = session.execute(counts.group_by(OutboxRow.kind)).all()
                waiting = Counter({row[0]: row[1] for row in found})
        for kind in REGISTRY:
            OUTBOX_WAITING.labels(kind).set(waiting[kind])
        return rows

    def _mark(self, seqs: list[int]) -> None:
        marked = update(OutboxRow).where(OutboxRow.seq.in_(seqs)).values(state="sent", sent_at=now_ms())
        with self._db.write() as session:
            session.execute(marked)

    def _tidy(self) -> None:
        old = delete(OutboxRow).where(OutboxRow.state == "sent", OutboxRow.sent_at < now_ms() - KEEP_SENT)
        with self._db.write() as session:
            session.execute(old)
