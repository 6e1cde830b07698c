"""The batches in hand: taken by agents, not yet stored or dropped."""

import asyncio
import time

from streams.transport.batch import Batch


class Hands:
    """Counts batches in hand, for those who wait until there is none. Belongs to the event loop.

    Attributes:
        moved_at: `time.monotonic()` of the last batch that was taken into empty hands, or left them.
    """

    def __init__(self) -> None:
        self.moved_at = time.monotonic()
        self._batches: set[Batch] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._batches)

    def take(self, batch: Batch) -> None:
        """The batch is in hand."""
        if not self._batches:
            self.moved_at = time.monotonic()
        self._batches.add(batch)
        self._empty.clear()

    def drop(self, batch: Batch) -> None:
        """The batch is out of hand, whatever became of it."""
        self._batches.discard(batch)
        self.moved_at = time.monotonic()
        if not self._batches:
            self._empty.set()

    def forget(self) -> None:
        """What is in hand belongs to somebody else by now."""
        self._batches.clear()
        self._empty.set()

    async def empty(self, limit_s: float) -> bool:
        """Wait until nothing is in hand; False when that takes longer than `limit_s` seconds."""
        try:
            await asyncio.wait_for(self._empty.wait(), limit_s)
        except TimeoutError:
            return False
        return True
