"""How far a file may run ahead of its verdicts: a file of nothing but bad rows is stopped early.

A file is read much faster than its rows are judged. Its first rows are therefore waited for, then twice
as many, and so on: when the brake pauses the dataset, the rest of the file is still in the bucket.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from producers.errors import DatasetPaused
from producers.kafka_access import Kafka, client_options

log = structlog.get_logger(__name__)

FIRST_ROWS: Final = 5_000
"""Rows of a file that may be unjudged at first."""
MOST_ROWS: Final = 160_000
"""Rows that may be unjudged later; workers commit every second, so this bounds rows a second too."""
PATIENCE_S: Final = 10.0
"""Without any progress for so long nobody judges: the rows wait as well in the topic as in the bucket."""
CROWDED_S: Final = 30.0
"""Files that are published at the same time keep the topic full for each other; after so long, what was in it
before this file's rows has been judged."""
LOOK_S: Final = 0.25
ASK_S: Final = 5.0


class Unjudged:
    """Counts the rows of a topic that the workers' group has not committed. Threads take turns.

    Asks through a consumer that never joins the group: librdkafka's admin client crashes the process when a
    coordinator that starts or moves is asked about commits (confluent-kafka-javascript issue 374).

    Args:
        kafka: the broker, with credentials if it asks for them.
        group: the workers' consumer group, prefix included.
        topic: full name.
    """

    def __init__(self, kafka: Kafka, group: str, topic: str) -> None:
        own = {"group.id": group, "enable.auto.commit": False, "log_level": 0}
        self._consumer = Consumer(client_options(kafka, own))
        self._topic = topic
        self._turn = threading.Lock()

    def __call__(self) -> int:
        """Rows between what is committed and the ends of the partitions.

        Raises:
            KafkaException: the broker does not say.
        """
        with self._turn:
            found = self._consumer.list_topics(self._topic, timeout=ASK_S).topics[self._topic]
            places = [TopicPartition(self._topic, number) for number in found.partitions]
            return sum(self._left(place) for place in self._consumer.committed(places, timeout=ASK_S))

    def _left(self, committed: TopicPartition) -> int:
        place = TopicPartition(self._topic, committed.partition)
        start, end = self._consumer.get_watermark_offsets(place, timeout=ASK_S)
        return int(end - max(committed.offset, start))


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
        least, began = None, time.monotonic()
        moved = began
        while True:
            if not self._is_active():
                raise DatasetPaused
            left = self._count()
            if left is not None and left < self._allowed:
                return
            if left is not None and (least is None or left < least):
                least, moved = left, time.monotonic()
            if time.monotonic() - began > CROWDED_S:
                return
            if time.monotonic() - moved > PATIENCE_S:
                log.warning("nobody_judges", unjudged=least)
                self._allowed = MOST_ROWS
                return
            self._pause(LOOK_S)

    def _count(self) -> int | None:
        """How many are unjudged; None while the broker does not say."""
        try:
            return self._unjudged()
        except KafkaException as exc:
            log.warning("unjudged_rows_unknown", error=type(exc).__name__)
            return None
