"""Insert Arrow batches into the base tables, one statement per batch."""

import io
import threading
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from sinks.client import INSERT_LIMIT_S, ClientFactory
from sinks.errors import classify
from sinks.migrate import quoted

_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "input_format_null_as_default": 0,  # a null where none belongs is a fault, not an empty text
    "optimize_on_insert": 1,
}


class Writer:
    """Inserts of one process. May be called from several threads; each gets its own connection."""

    def __init__(
        self, client_factory: ClientFactory, database: str, insert_limit_s: int = INSERT_LIMIT_S
    ) -> None:
        self._factory = client_factory
        self._database = database
        self._settings = {**_SETTINGS, "max_execution_time": insert_limit_s}
        self._local = threading.local()

    def insert(self, table: str, batch: pa.RecordBatch | pa.Table) -> None:
        """Insert a batch and return when the server has stored it (fsync included). Blocks.

        A batch is one block: all of its rows that fall into one partition of the table become visible
        together. Inserting it again after a time-out is safe, the first stored row of a key wins.

        Raises:
            Retryable: network, time-out, overload; whether the batch was stored is unknown.
            Refused: the server or Arrow says these rows can never be stored.
        """
        if batch.num_rows == 0:
            return
        try:
            self._client().raw_insert(
                f"{quoted(self._database)}.{quoted(table)}",
                column_names=batch.schema.names,
                insert_block=arrow_stream(batch),
                settings=self._settings,
                fmt="ArrowStream",
            )
        except Exception as exc:
            self._forget()
            raise classify(exc) from exc

    def close(self) -> None:
        """Close the connection of the calling thread."""
        self._forget()

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._factory()
        return client

    def _forget(self) -> None:
        """Drop the connection, so that the next insert makes a fresh one."""
        client: Client | None = getattr(self._local, "client", None)
        self._local.client = None
        if client is not None:
            client.close()


def arrow_stream(batch: pa.RecordBatch | pa.Table) -> bytes:
    """A batch in the Arrow stream format."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write(batch)
    return sink.getvalue()
