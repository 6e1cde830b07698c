"""Gates: after an assignment nothing is judged before the index of its partitions is restored.

Faust resumes the flow before its signal handlers end, and the consumer's callback may not outlast the
rebalance time-out; so the restore goes on beside both, and an agent waits here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from faust.types import TP

from streams.metrics import LOST, RESTORE_SECONDS
from streams.transport.batch import Batch
from streams.transport.thread import Start

log = structlog.get_logger(__name__)

Restore = Callable[[int, Mapping[int, Start]], Awaitable[None]]
"""Restores a topic's partitions under a generation: partition → where it begins."""
Fatal = Callable[[BaseException], None]


class Gates:
    """The transport's listener: restores after an assignment, opens the gate of each topic.

    Args:
        restores: full topic name → its restore; other topics' gates open at once.
        former_owner_gone: returns when no insert of a former owner may become visible any more. It is waited
            for, unless the former owner gave the partition up in good order.
        fatal: ends the process.
    """

    def __init__(
        self, restores: Mapping[str, Restore], former_owner_gone: Callable[[], Awaitable[None]], fatal: Fatal
    ) -> None:
        self._restores = restores
        self._former_owner_gone = former_owner_gone
        self._fatal = fatal
        self._open: dict[tuple[int, str], asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._assigned: int | None = None
        self._waiting: frozenset[str] = frozenset()

    def assigned(self, generation: int, starts: Mapping[TP, Start], first_member: bool) -> None:
        """Begin to restore each topic's partitions; returns at once."""
        log.info("assigned", generation=generation, partitions=len(starts))
        self._assigned = generation
        by_topic: dict[str, dict[int, Start]] = {}
        for tp, start in starts.items():
            by_topic.setdefault(tp.topic, {})[tp.partition] = start
        for topic, partitions in by_topic.items():
            gate = self._open[generation, topic] = asyncio.Event()
            task = asyncio.ensure_future(self._restore(gate, generation, topic, partitions, first_member))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _restore(
        self,
        gate: asyncio.Event,
        generation: int,
        topic: str,
        partitions: Mapping[int, Start],
        first_member: bool,
    ) -> None:
        restore = self._restores.get(topic)
        if restore is not None:
            began = time.monotonic()
            if not first_member and not all(start.released for start in partitions.values()):
                log.info("waiting_for_former_owner", topic=topic)
                self._waiting |= {topic}
                await self._former_owner_gone()
                self._waiting -= {topic}
            await restore(generation, partitions)
            RESTORE_SECONDS.labels(topic).observe(time.monotonic() - began)
        gate.set()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._fatal(exc)

    def revoked(self, generation: int) -> None:
        """Nothing of this generation is judged any more; whoever waits is told."""
        self._assigned = None
        log.info("revoked", generation=generation)
        for task in self._tasks:
            task.cancel()
        gates, self._open = self._open, {}
        self._waiting = frozenset()
        for gate in gates.values():
            gate.set()

    def lost(self, topic: str, partition: int, first: int, next_offset: int) -> None:
        """Raise the alarm; the loss is recorded in the ledger's ranges with the batch behind it."""
        LOST.labels(topic).inc(next_offset - first)
        log.error("range_lost_to_retention", topic=topic, partition=partition, first=first, next=next_offset)

    async def wait(self, batch: Batch) -> bool:
        """Wait until the batch may be judged; False when its partition was given up."""
        gate = self._open.get((batch.generation, batch.topic))
        if gate is not None:
            await gate.wait()
        return batch.owned

    @property
    def all_open(self) -> bool:
        """Whether there is an assignment, be it of nothing, and all of it is restored. From any thread."""
        return self._assigned is not None and not self._closed

    @property
    def why_closed(self) -> str | None:
        """What is waited for, None when all are open. From any thread."""
        if self._assigned is None:
            return "waiting for partitions; the group gives a member that died up after its session time-out"
        closed, waiting = self._closed, self._waiting
        if waiting >= set(closed) and closed:
            return f"{', '.join(closed)}: waiting until no insert of a former owner can come any more"
        return f"restoring {', '.join(closed)}" if closed else None

    @property
    def _closed(self) -> list[str]:
        return sorted(topic for (_, topic), gate in list(self._open.items()) if not gate.is_set())
