"""Batches of Faust's agents into their pipelines: whole, or the first of an assignment in pieces, alone.

A batch that kills its worker is met again by the next one, as the first of its assignment. It is taken in
pieces then, with nothing else in hand, so that the rows to blame are found (`streams.suspects`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from streams.app import Handle
from streams.assembly import TopicLine
from streams.gates import Gates
from streams.lease import GroupLease
from streams.pipeline import Pipeline
from streams.store import Abandoned, Always
from streams.suspects import Piece, Suspects
from streams.transport.batch import Batch

log = structlog.get_logger(__name__)


class Handing:
    """Hands the batches of all topics on. Belongs to the event loop.

    Args:
        lines: what becomes of a topic's batches, by full name.
        lease_of: the right to store what came in some batches.
    """

    def __init__(
        self,
        lines: Mapping[str, TopicLine],
        gates: Gates,
        lease_of: Callable[[Sequence[Batch]], GroupLease],
    ) -> None:
        self._lines = lines
        self._gates = gates
        self._lease_of = lease_of
        self._alone = asyncio.Lock()

    def of(self, topic: str) -> Handle:
        """What an agent does with each batch of this topic, once its partition is restored."""
        pipeline, suspects = self._lines[topic].pipeline, self._lines[topic].suspects

        async def hand(batch: Batch) -> None:
            if not await self._gates.wait(batch):
                return
            if suspects.is_first(batch) and await self._begin(suspects, batch):
                await self._in_pieces(pipeline, suspects, batch)
            else:
                async with self._alone:
                    await pipeline.put(batch)

        return hand

    async def _begin(self, suspects: Suspects, batch: Batch) -> bool:
        """Note the first batch of an assignment; True when it must be taken in pieces."""
        try:
            return await asyncio.to_thread(suspects.begin, batch, self._lease_of([batch]))
        except Abandoned:
            return False

    async def _in_pieces(self, pipeline: Pipeline, suspects: Suspects, batch: Batch) -> None:
        pieces = suspects.pieces(batch, self._lease_of([batch]))
        piece: Piece | None = None
        try:
            while True:
                async with self._alone:
                    # nothing else is in hand, of any topic: who dies now dies of this piece
                    for line in self._lines.values():
                        await line.pipeline.quiet()
                    piece = await asyncio.to_thread(next, pieces, None)
                    if piece is None:
                        return
                    await pipeline.put(piece.batch)
                    await pipeline.quiet()
                    await asyncio.to_thread(suspects.survived, piece, self._lease_of([piece.batch]))
                    piece = None
                # a topic that the brake holds back must not hold up the others
                await pipeline.settled()
        except Abandoned:
            log.info("pieces_abandoned", topic=batch.topic, partition=batch.partition)
            if piece is not None:
                await self._alive_after(suspects, piece)

    async def _alive_after(self, suspects: Suspects, piece: Piece) -> None:
        """A piece whose partition went elsewhere has killed nobody: many rebalances must not condemn it."""
        try:
            await asyncio.to_thread(suspects.survived, piece, Always())
        except Abandoned:  # the process ends before the store answers
            log.info("piece_left_in_doubt", topic=piece.batch.topic, partition=piece.batch.partition)
