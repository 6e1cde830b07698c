"""The store as the pipeline uses it: writes that are repeated until they succeed or are nobody's any more."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import pyarrow as pa
import structlog
from clickhouse_connect.driver.client import Client

from sinks.client import ClientFactory
from sinks.errors import Refused, Retryable, classify
from sinks.writer import Writer
from streams.metrics import STORE_RETRIES

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Abandoned(Exception):
    """The partitions went elsewhere: what is in hand is dropped unstored, its new owner fetches it."""


class Lease(Protocol):
    """Whether the worker may still write for the partitions in hand."""

    @property
    def giving_up(self) -> bool:
        """Whether the partitions are being handed over: what is only waited for should be dropped."""

    def renew(self) -> None:
        """Return when the group knows this worker as the owner; blocks while that is unknown.

        A worker whose last heartbeat is older than the session time-out may have lost its partitions
        without hearing of it, so it writes nothing until a heartbeat was answered well.

        Raises:
            Abandoned: the partitions were given up.
        """


class Store:
    """Inserts and reads with back-off. Used by one thread at a time.

    Args:
        clients: makes connections for reads.
        writer: inserts record batches.
        topic: name for metrics and logs.

    Attributes:
        waiting: the last attempt failed and is being repeated.
    """

    def __init__(self, clients: ClientFactory, writer: Writer, topic: str) -> None:
        self._clients = clients
        self._writer = writer
        self._topic = topic
        self._client: Client | None = None
        self._pause = threading.Event()
        self.waiting = False

    def insert(self, table: str, make: Callable[[], pa.RecordBatch], lease: Lease) -> None:
        """Insert the batch that `make` makes, again and again until it is stored.

        Raises:
            Refused: retrying cannot cure it.
            Abandoned: the partitions were given up meanwhile.
        """
        batch = make()
        self._persist(lambda: self._writer.insert(table, batch), lease, table)

    def read(self, query: Callable[[Client], T], lease: Lease) -> T:
        """Ask the store, again and again until it answers.

        A question has no rows that could be to blame: a code that would refuse an insert may come of a part
        that a full disk cut short, and is waited out like any other.

        Raises:
            Abandoned: the partitions were given up meanwhile.
        """

        def ask() -> T:
            try:
                if self._client is None:
                    self._client = self._clients()
                return query(self._client)
            except Exception as exc:  # noqa: BLE001 - sorted by `classify`, and repeated
                failure = classify(exc)
                raise Retryable(str(failure), failure.code) from None

        return self._persist(ask, lease, "read")

    def _persist(self, act: Callable[[], T], lease: Lease, what: str) -> T:
        pause = FIRST_PAUSE_S
        while True:
            lease.renew()
            if self._pause.is_set():
                raise Abandoned
            try:
                result = act()
                self.waiting = False
                return result
            except Exception as exc:  # noqa: BLE001 - sorted by `classify`: refused ones go on up
                failure = classify(exc)
            if isinstance(failure, Refused):
                raise failure
            self.waiting = True
            self._forget(failure, what, pause)
            self._pause.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _forget(self, failure: Retryable, what: str, pause: float) -> None:
        STORE_RETRIES.labels(self._topic).inc()
        log.warning("store_retry", topic=self._topic, what=what, error=str(failure), pause_s=pause)
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def abandon(self) -> None:
        """The process ends: whoever waits for the store is told, from now on. From any thread."""
        self._pause.set()

    def close(self) -> None:
        """Close the connections of the calling thread."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._writer.close()


class Always:
    """The lease of a writer whose rows belong to no partition."""

    giving_up = False

    def renew(self) -> None:
        """Always."""
