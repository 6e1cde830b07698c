"""Rows that were refused because their organisation, dataset or device was unknown replay themselves.

A sweep, not a trigger: the refusal may be stored after the object's message was seen. Only the worker
that has the registry's first partition sweeps. A person may replay the same row at the same time; how
both keep out of each other's way is told in `sinks/quarantine_actions.py`.
"""

import asyncio
import time
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC

import orjson
import structlog

from producers.publisher import BrokerUnavailable, Publisher, PublishError, Record
from schemas import headers
from schemas.identity import split_position
from schemas.origins import OriginSigner
from schemas.personal import SealBroken, Sealer
from sinks.quarantine import Place
from sinks.quarantine_actions import (
    ACT_WITHIN_S,
    SWEEP,
    TABLE,
    Action,
    action_batch,
    standings,
)
from sinks.waiting import START, WaitingRow, curable_rows
from streams.metrics import REQUEUED
from streams.store import Always, Store

log = structlog.get_logger(__name__)

SWEEP_S = 2.0
AT_ONCE = 5000
REMEMBERED = 1_000_000
SEND_LIMIT_S = 30.0


class Requeue:
    """Replays curable rows through the same door, as new records that name the one they replay.

    Args:
        mine: whether this worker is the one that sweeps.
    """

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        sealer: Sealer,
        signer: OriginSigner,
        mine: Callable[[], bool],
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._sealer = sealer
        self._signer = signer
        self._mine = mine
        self._sent: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            if self._mine():
                await asyncio.to_thread(self.sweep)

    def sweep(self) -> int:
        """Replay what can be cured now; returns how many rows were sent."""
        records = self._next_page()
        if not records:
            return 0
        began = time.monotonic()
        free = self._claim([row for row, _ in records])
        sent = [(row, record) for row, record in records if (row.topic, row.position) in free]
        try:
            self._publish([record for _, record in sent], began)
        except PublishError as exc:
            log.warning("requeue_postponed", rows=len(sent), error=str(exc))
            return 0
        if len(self._sent) > REMEMBERED:
            self._sent.clear()
        for row, _ in sent:
            self._sent.add((row.topic, row.position))
            REQUEUED.labels(row.missing_kind).inc()
        log.info("requeued", rows=len(sent))
        return len(sent)

    def _next_page(self) -> list[tuple[WaitingRow, Record]]:
        """The first page with anything to send: rows that cannot be opened hold up none behind them."""
        after = START
        while True:
            rows = self._store.read(lambda c, a=after: curable_rows(c, AT_ONCE, a), Always())  # type: ignore[misc]
            fresh = [row for row in rows if (row.topic, row.position) not in self._sent]
            records = [(row, record) for row in fresh if (record := self._open(row)) is not None]
            if records or len(rows) < AT_ONCE:
                return records
            after = rows[-1].topic, rows[-1].position

    def _claim(self, rows: list[WaitingRow]) -> set[Place]:
        """Write that these rows will be replayed; returns those that nobody else acts on."""
        owned = [(row.organization_id, (row.topic, row.position)) for row in rows]
        batch = action_batch(owned, Action.REQUEUED, SWEEP)
        self._store.insert(TABLE, lambda: batch, Always())
        found = self._store.read(lambda client: standings(client, owned), Always())
        return {
            place
            for place, standing in found.items()
            if not standing.replayed and standing.latest in (None, Action.WITHDRAWN)
        }

    def _publish(self, records: list[Record], began: float) -> None:
        """Send records while the claim on them holds.

        Raises:
            PublishError: not all were acknowledged.
        """
        group = self._publisher.group()
        for record in records:
            if time.monotonic() - began > ACT_WITHIN_S:
                raise BrokerUnavailable("the broker took longer than the claim on the rows holds")
            group.add_waiting(record, SEND_LIMIT_S)
        group.wait(SEND_LIMIT_S)

    def _open(self, row: WaitingRow) -> Record | None:
        """The record as it came, with `replay_of`; None when its seal cannot be opened."""
        try:
            original = orjson.loads(self._sealer.open(row.organization_id, row.sealed))
        except SealBroken:
            log.error("seal_broken", topic=row.topic, position=row.position)
            self._sent.add((row.topic, row.position))
            return None
        given = [
            (name, b64decode(value))
            for name, value in original["headers"].items()
            if value is not None and name not in (headers.ORIGIN, headers.REPLAY_OF)
        ]
        given.append(
            (headers.REPLAY_OF, self._signer.sign(headers.REPLAY_OF, row.organization_id, row.position))
        )
        if headers.RECEIVED_AT not in original["headers"]:
            received = row.received_at.replace(tzinfo=UTC).isoformat(timespec="milliseconds")
            given.append((headers.RECEIVED_AT, received.encode()))
        _, partition, _ = split_position(row.position)
        # a topic that was made anew may have fewer: then the home of the key decides
        there = partition if partition < self._publisher.partitions(row.topic) else None
        key = b64decode(original["key"]) if original["key"] else b""
        return Record(row.topic, key, b64decode(original["value"] or ""), given, there)
