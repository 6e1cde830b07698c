"""Rows that were refused because their organisation, dataset or device was unknown replay themselves.

A sweep, not a trigger: the refusal may be stored after the object's message was seen. Only the worker
that has the registry's first partition sweeps.
"""

import asyncio
from base64 import b64decode
from collections.abc import Callable

import orjson
import structlog

from producers.publisher import Publisher, PublishError, Record
from schemas import headers
from schemas.identity import split_position
from schemas.personal import SealBroken, Sealer
from sinks.waiting import WaitingRow, curable_rows
from streams.metrics import REQUEUED
from streams.rows import OriginSigner
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
        rows = self._store.read(lambda client: curable_rows(client, AT_ONCE), Always())
        fresh = [row for row in rows if (row.topic, row.position) not in self._sent]
        records = [(row, record) for row in fresh if (record := self._open(row)) is not None]
        if not records:
            return 0
        group = self._publisher.group()
        try:
            for _, record in records:
                group.add_waiting(record, SEND_LIMIT_S)
            group.wait(SEND_LIMIT_S)
        except PublishError as exc:
            log.warning("requeue_postponed", rows=len(records), error=str(exc))
            return 0
        if len(self._sent) > REMEMBERED:
            self._sent.clear()
        for row, _ in records:
            self._sent.add((row.topic, row.position))
            REQUEUED.labels(row.missing_kind).inc()
        log.info("requeued", rows=len(records))
        return len(records)

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
        _, partition, _ = split_position(row.position)
        key = b64decode(original["key"]) if original["key"] else b""
        return Record(row.topic, key, b64decode(original["value"] or ""), given, partition)
