"""ClickHouse asked, and appended to, from worker threads: pooled clients, one error when it is away."""

import queue
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pyarrow as pa
import structlog
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from api.errors import StoreAway
from sinks.errors import StoreError, classify
from sinks.writer import Writer

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")
_IDLE: Final = 8
_INSERT_LIMIT_S: Final = 5


class Store:
    """Lends clients of the analysts' database; a client serves one thread at a time.

    Args:
        connect: makes a client, bound to the database.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._idle: queue.SimpleQueue[Client] = queue.SimpleQueue()

    def ask(self, question: Callable[..., Answer], *args: Any, **kwargs: Any) -> Answer:
        """Call `question(client, …)`. Blocks: for worker threads.

        Raises:
            StoreAway: ClickHouse does not answer, or refuses.
        """
        try:
            client = self._borrow()
            answer = question(client, *args, **kwargs)
        except (ClickHouseError, urllib3.exceptions.HTTPError, OSError) as error:
            log.warning("store_query_failed", error=str(classify(error)))
            raise StoreAway from None
        self._give_back(client)
        return answer

    def append(self, table: str, batch: pa.RecordBatch) -> None:
        """Insert rows. Blocks until they are stored: for worker threads.

        Raises:
            StoreAway: ClickHouse does not answer, or refuses; whether the rows were stored is unknown,
                so the table must take the same rows twice without harm.
        """

        def insert(client: Client) -> None:
            Writer(lambda: client, str(client.database), _INSERT_LIMIT_S).insert(table, batch)

        try:
            self.ask(insert)
        except StoreError as error:
            log.warning("store_insert_failed", table=table, error=str(error))
            raise StoreAway from None

    def close(self) -> None:
        """Close the idle clients."""
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _borrow(self) -> Client:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._connect()

    def _give_back(self, client: Client) -> None:
        if self._idle.qsize() < _IDLE:
            self._idle.put(client)
        else:
            client.close()
