"""The pipeline of one topic: batches in, rows stored, batches done. In turns.

Two threads work at the same time: one prepares the batches that come in, the other decides and writes
the turn before. A turn takes everything that is prepared, over all partitions, so that each table gets
one insert however many partitions there are. Nothing of a turn is decided before the turn before it
is stored: what is in flight needs no place in the index.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import structlog

from streams.metrics import ROWS_IN
from streams.settle import Settle
from streams.store import Abandoned
from streams.transport.batch import Batch
from streams.transport.thread import Start
from streams.turn import Prepared

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5


class Restorer(Protocol):
    """Restores what the decisions of a topic need, in the thread that decides."""

    def __call__(self, partitions: Mapping[int, Start], owned: Callable[[], bool]) -> None:
        """Restore; returns early when the partitions are not owned any more."""


class Pipeline:
    """Runs the turns of one topic.

    Args:
        prepare: makes a `Prepared` of a batch; called in the first thread.
        settle: decides and writes a turn; called in the second thread.
        restorer: called in the second thread after each assignment.
        max_rows: rows in hand at which agents are held back.
        held: whether the brake holds the topic.
    """

    def __init__(
        self,
        topic: str,
        prepare: Callable[[Batch], Prepared],
        settle: Settle[Any],
        restorer: Restorer,
        max_rows: int,
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._held = held
        self._topic = topic
        self._prepare = prepare
        self._settle = settle
        self._restorer = restorer
        self._max_rows = max_rows
        self._waiting: deque[tuple[Batch, asyncio.Future[Prepared]]] = deque()
        self._rows = 0
        self._changed = asyncio.Condition()
        self._first = ThreadPoolExecutor(1, f"prepare-{topic}")
        self._second = ThreadPoolExecutor(1, f"decide-{topic}")

    async def put(self, batch: Batch) -> None:
        """Take a batch in hand; waits while enough is in hand."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._rows < self._max_rows)
        if not batch.take():
            return
        ROWS_IN.labels(self._topic).inc(len(batch))
        loop = asyncio.get_running_loop()
        self._waiting.append((batch, loop.run_in_executor(self._first, self._prepare, batch)))
        await self._count(len(batch))

    async def run(self) -> None:
        """Settle turn after turn, for ever. An exception from here ends the process."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting))
            turn = await self._next_turn()
            if turn:
                await self._settle_turn(turn)

    async def _next_turn(self) -> list[Prepared]:
        """Everything that is prepared by now, the oldest batch in any case."""
        turn: list[Prepared] = []
        rows = 0
        while self._waiting and (not turn or (self._waiting[0][1].done() and rows < self._max_rows)):
            batch, future = self._waiting[0]
            prepared = await future
            self._waiting.popleft()
            rows += len(batch)
            if batch.owned:
                turn.append(prepared)
            else:
                await self._count(-len(batch))
        return turn

    async def _settle_turn(self, turn: list[Prepared]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._second, self._settle, turn)
        except Abandoned:
            log.info("turn_abandoned", topic=self._topic, batches=len(turn))
            for prepared in turn:
                prepared.batch.drop()
        else:
            for prepared in turn:
                prepared.batch.done()
        await self._count(-sum(len(prepared.batch) for prepared in turn))

    async def _count(self, rows: int) -> None:
        async with self._changed:
            self._rows += rows
            self._changed.notify_all()

    async def settled(self) -> None:
        """Return when nothing is in hand."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._rows == 0)

    async def quiet(self) -> None:
        """Return when nothing is in hand, or nothing is done with it because the topic is stopped."""
        while self._rows and not (self._held() and all(future.done() for _, future in self._waiting)):
            async with self._changed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), LOOK_S)

    async def restore(self, owned: Callable[[], bool], partitions: Mapping[int, Start]) -> None:
        """Restore what decisions need for newly assigned partitions, between two turns."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._second, self._restorer, partitions, owned)

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        self._first.shutdown(wait=False, cancel_futures=True)
        self._second.shutdown(wait=False, cancel_futures=True)
