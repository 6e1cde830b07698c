"""The records of a file: many, waited for as one.

A callback for every acknowledgement would cost as much as the rest of the way, so only failures are told,
and a file is acknowledged when nothing waits any more and nothing failed. That needs a connection on which
nothing else is sent.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from producers.connection import Connection
from producers.errors import BrokerUnavailable, PublishError
from producers.group import Record
from producers.metrics import PUBLISHED, TIME_TO_ACK

_FULL_WAIT_S: Final = 0.02
_CHECK_S: Final = 0.5


class Bulk:
    """Records that count as one: all acknowledged, or the file failed. For one thread; a context manager.

    Args:
        connect: makes a connection, given what is to be told of failures.
        refused: our error for librdkafka's, by topic.
        check: called while the file waits; what it raises ends the waiting.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[KafkaError], None]], Connection],
        refused: Callable[[str, KafkaError], PublishError],
        check: Callable[[], None],
    ) -> None:
        self._refused = refused
        self._check = check
        self._topic = ""
        self._sent = 0
        self._error: PublishError | None = None
        self._started = time.monotonic()
        self._connection = connect(self._failed)

    def __enter__(self) -> "Bulk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what still waits."""
        self._connection.discard()

    def add(self, records: Iterable[Record], deadline_s: float) -> None:
        """Hand records over; while the buffer is full wait, at most `deadline_s` seconds for each.

        Raises:
            BrokerUnavailable: the buffer stayed full, or a record of this file has failed already.
            RecordTooLarge: one exceeds the limit.
        """
        produce = self._connection.produce
        sent = 0
        try:
            for topic, key, value, headers, partition in records:
                try:
                    produce(topic, value, key, partition, None, None, 0, headers)
                except BufferError:
                    self._topic = topic
                    self._wait_for_room(
                        partial(produce, topic, value, key, partition, None, None, 0, headers), deadline_s
                    )
                except KafkaException as error:
                    raise self._refused(topic, error.args[0]) from None
                sent += 1
            if sent:
                self._topic = topic
        finally:
            self._sent += sent
        self._connection.serve()
        if self._error is not None:
            raise self._error

    def _wait_for_room(self, produce: Callable[[], None], deadline_s: float) -> None:
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            self._check()
            if self._error is not None:
                raise self._error
            self._connection.serve(_FULL_WAIT_S)
            with suppress(BufferError):
                return produce()
        raise BrokerUnavailable("the buffer stays full")

    def wait(self, deadline_s: float) -> int:
        """Wait until all records are acknowledged; returns how many there were.

        Raises:
            PublishError: one was not; the others may have been.
        """
        until = time.monotonic() + deadline_s
        while self._connection.flush(min(_CHECK_S, max(until - time.monotonic(), 0.0))):
            self._check()
            if self._error is None and time.monotonic() >= until:
                raise BrokerUnavailable("no acknowledgement in time")
            if self._error is not None:
                break
        if self._error is not None:
            raise self._error
        if self._sent:
            PUBLISHED.labels(self._topic).inc(self._sent)
        TIME_TO_ACK.observe(time.monotonic() - self._started)
        return self._sent

    def _failed(self, error: KafkaError) -> None:
        self._error = self._error or self._refused(self._topic, error)
