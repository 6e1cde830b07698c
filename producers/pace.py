"""How far a file may run ahead of its verdicts: a file of nothing but bad rows is stopped early.

A file is read much faster than its rows are judged. Its first rows are therefore waited for, then twice
as many, and so on: when the brake pauses the dataset, the rest of the file is still in the bucket.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from producers.errors import DatasetPaused

log = structlog.get_logger(__name__)

FIRST_ROWS: Final = 5_000
"""Rows of a file that may be unjudged at first."""
MOST_ROWS: Final = 160_000
"""Rows that may be unjudged later; workers commit every second, so this bounds rows a second too."""
PATIENCE_S: Final = 10.0
"""Without any progress for so long nobody judges: the rows wait as well in the topic as in the bucket."""
LOOK_S: Final = 0.25
ASK_S: Final = 5.0


class Unjudged:
    """Counts the rows of a topic that the workers' group has not committed.

    Args:
        bootstrap: Kafka's bootstrap servers.
        group: the workers' consumer group, prefix included.
        topic: full name.
    """

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._group = group
        self._topic = topic

    def __call__(self) -> int:
        """Rows between what is committed and the ends of the partitions.

        Raises:
            KafkaException, TimeoutError: the broker does not say.
        """
        found = self._admin.list_topics(self._topic, timeout=ASK_S).topics[self._topic]
        places = [TopicPartition(self._topic, number) for number in found.partitions]
        ends, starts = (
            self._offsets(places, OffsetSpec.latest()),
            self._offsets(places, OffsetSpec.earliest()),
        )
        asked = [ConsumerGroupTopicPartitions(self._group, places)]
        answer = self._admin.list_consumer_group_offsets(asked, request_timeout=ASK_S)[self._group]
        committed = {tp.partition: tp.offset for tp in answer.result(ASK_S).topic_partitions}
        return sum(ends[number] - max(committed.get(number, -1), starts[number]) for number in ends)

    def _offsets(self, places: list[TopicPartition], what: OffsetSpec) -> dict[int, int]:
        futures = self._admin.list_offsets(dict.fromkeys(places, what), request_timeout=ASK_S)
        return {tp.partition: future.result(ASK_S).offset for tp, future in futures.items()}


class Pace:
    """Holds one file back while too many rows are unjudged.

    Args:
        unjudged: counts them.
        is_active: whether the dataset is still active.
        pause: waits for some seconds; raises when the process is to end.
    """

    def __init__(
        self, unjudged: Callable[[], int], is_active: Callable[[], bool], pause: Callable[[float], None]
    ) -> None:
        self._unjudged = unjudged
        self._is_active = is_active
        self._pause = pause
        self._allowed = FIRST_ROWS
        self._sent = 0

    def sent(self, rows: int) -> None:
        """Take in that so many more rows were handed to the broker; blocks while it is too far ahead.

        Raises:
            DatasetPaused: it was paused meanwhile.
        """
        self._sent += rows
        if self._sent < self._allowed:
            return
        self._sent = 0
        self._wait()
        self._allowed = min(2 * self._allowed, MOST_ROWS)

    def _wait(self) -> None:
        least, moved = None, time.monotonic()
        while True:
            if not self._is_active():
                raise DatasetPaused
            left = self._count()
            if left is not None and left < self._allowed:
                return
            if left is not None and (least is None or left < least):
                least, moved = left, time.monotonic()
            if time.monotonic() - moved > PATIENCE_S:
                log.warning("nobody_judges", unjudged=least)
                self._allowed = MOST_ROWS
                return
            self._pause(LOOK_S)

    def _count(self) -> int | None:
        """How many are unjudged; None while the broker does not say."""
        try:
            return self._unjudged()
        except (KafkaException, TimeoutError) as exc:
            log.warning("unjudged_rows_unknown", error=type(exc).__name__)
            return None
