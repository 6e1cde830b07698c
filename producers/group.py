"""Records that are waited for as one."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from producers.errors import BrokerUnavailable, PublisherFull, PublishError
from producers.metrics import PUBLISHED, TIME_TO_ACK

_FULL_WAIT_S: Final = 0.05
_CHECK_S: Final = 0.5

OnDelivery = Callable[[PublishError | None], None]
"""Called once per record, from another thread: None after the acknowledgement, else what happened."""


class Record(NamedTuple):
    """One record to publish.

    Attributes:
        topic: full name on the broker.
        key: bytes of the record key.
        partition: None lets the key's home decide (`schemas.identity.partition_of`).
    """

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


Publish = Callable[[Record, OnDelivery], None]
"""`Publisher.publish`, or what stands for it."""


class Group:
    """Records that count as one: all acknowledged, or the group failed.

    Not for several threads at once. The first failure is kept; later ones follow from it.
    """

    def __init__(
        self,
        publish: Publish,
        on_finished: OnDelivery | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._publish = publish
        self._on_finished = on_finished
        self._check = check or (lambda: None)
        self._settled = threading.Condition()
        self._sent = 0
        self._acknowledged = 0
        self._failed = 0
        self._closed = False
        self._error: PublishError | None = None
        self._by_topic: dict[str, int] = {}
        self._started = time.monotonic()

    def add(self, record: Record) -> None:
        """Hand a record over without waiting; errors as of `Publisher.publish`."""
        self._publish(record, self._on_delivery)
        self._sent += 1
        self._by_topic[record.topic] = self._by_topic.get(record.topic, 0) + 1

    def add_waiting(self, record: Record, deadline_s: float) -> None:
        """Hand a record over; while the buffer is full wait, at most `deadline_s` seconds.

        Raises:
            BrokerUnavailable: the buffer stayed full, or a record of this group has failed already.
            RecordTooLarge: the record exceeds the limit.
        """
        until = time.monotonic() + deadline_s
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self.add(record)
            except PublisherFull:
                self._check()
                if time.monotonic() >= until:
                    raise BrokerUnavailable("the buffer stays full") from None
                with self._settled:
                    self._settled.wait(_FULL_WAIT_S)

    def close(self) -> None:
        """No more records will be added; `on_finished` is called when the last one is settled."""
        with self._settled:
            was_closed, self._closed = self._closed, True
            finished = not was_closed and self._is_finished()
        if finished:
            self._finish()

    def wait(self, deadline_s: float) -> int:
        """Wait until all records are acknowledged; returns how many there were.

        Raises:
            PublishError: one was not; the others may have been.
        """
        self.close()
        until = time.monotonic() + deadline_s
        while not self._wait(min(_CHECK_S, max(until - time.monotonic(), 0.0))):
            self._check()
            if time.monotonic() >= until:
                raise BrokerUnavailable("no acknowledgement in time")
        if self._error is not None:
            raise self._error
        TIME_TO_ACK.observe(time.monotonic() - self._started)
        return self._sent

    def _wait(self, seconds: float) -> bool:
        with self._settled:
            return self._settled.wait_for(self._is_finished, seconds)

    def _is_finished(self) -> bool:
        return self._closed and self._acknowledged + self._failed == self._sent

    def _on_delivery(self, error: PublishError | None) -> None:
        with self._settled:
            if error is None:
                self._acknowledged += 1
            else:
                self._failed += 1
                self._error = self._error or error
            finished = self._is_finished()
            if finished or error is not None:
                self._settled.notify_all()
        if finished:
            self._finish()

    def _finish(self) -> None:
        if self._error is None:
            for topic, count in self._by_topic.items():
                PUBLISHED.labels(topic).inc(count)
        if self._on_finished:
            self._on_finished(self._error)
