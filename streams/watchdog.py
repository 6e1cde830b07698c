"""What ends a worker that looks alive: a topic made anew, or a batch that makes no progress.

And what wakes one up that was assigned nothing because nobody knew the topics.
"""

import asyncio
import time
from collections.abc import Callable

import faust
import structlog
from aiokafka.errors import KafkaError

from streams.metrics import LAG
from streams.topic_ids import TopicIds, TopicsMissing
from streams.transport.consumer import BatchConsumer

log = structlog.get_logger(__name__)


class Stalled(Exception):
    """A batch is in hand and made no progress although the store answers."""


class Watchdog:
    """Looks at the topics' ids and at the batches in hand, every few seconds.

    Args:
        waiting: whether a store or broker is being waited for; that is no stall.
    """

    def __init__(
        self,
        app: faust.App,
        topic_ids: TopicIds,
        waiting: Callable[[], bool],
        stall_limit_s: float,
        every_s: float,
    ) -> None:
        self._app = app
        self._topic_ids = topic_ids
        self._waiting = waiting
        self._stall_limit_s = stall_limit_s
        self._every_s = every_s
        self._waited_at = time.monotonic()

    async def run(self) -> None:
        """Watch for ever.

        Raises:
            TopicRecreated: a topic's id changed.
            Stalled: see there.
        """
        while True:
            await asyncio.sleep(self._every_s)
            consumer: BatchConsumer = self._app.consumer
            await self.check_topics()
            self._check_progress(consumer)
            await consumer.know_topics()
            await self._measure_lag(consumer)

    async def check_topics(self) -> None:
        """Compare the topics' ids with those at the start.

        Raises:
            TopicRecreated: one was made anew: its offsets begin again, under the positions known so far.
        """
        try:
            await asyncio.to_thread(self._topic_ids.read)
        except TopicsMissing as exc:
            log.warning("topics_not_checked", error=str(exc))

    def _check_progress(self, consumer: BatchConsumer) -> None:
        now = time.monotonic()
        if self._waiting():
            self._waited_at = now
        idle = now - max(consumer.progress_at, self._waited_at)
        if consumer.in_hand and idle > self._stall_limit_s:
            raise Stalled(f"{consumer.in_hand} batches in hand, no progress for {idle:.0f} s")

    async def _measure_lag(self, consumer: BatchConsumer) -> None:
        stored = dict(consumer.positions())
        try:
            ends = await consumer.highwaters(*stored) if stored else {}
        except KafkaError as exc:
            log.warning("lag_not_measured", error=type(exc).__name__)
            return
        LAG.clear()  # a partition that went elsewhere has no lag here
        for tp, end in ends.items():
            LAG.labels(tp.topic, str(tp.partition)).set(max(0, end - stored[tp]))
