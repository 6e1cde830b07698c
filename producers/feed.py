"""Rows of one file into the topic `payments`, acknowledged: the one way for every channel.

A file that could not be published to its end is published again from its first row, with the same
`source_ref` and lines: its receipt counts each line once.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

import structlog

from producers.backoff import Backoff
from producers.contracts import Dataset, FileRecord, FileState, RunStore
from producers.errors import BrokerUnavailable, DatasetPaused, SourceError
from producers.metrics import FILE_ROWS
from producers.pace import Pace
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from producers.rows import Origin, RowRecords
from producers.table_rows import ColumnRows, Row, UnreadableRow

log = structlog.get_logger(__name__)

Opened = AbstractContextManager[Iterable[Sequence[Row]]]
"""The rows of a file in batches, from the first one; it may raise `FileRefused` before it gives any."""


class RowFeed:
    """Publishes files, one at a time. Blocks; belongs to one thread."""

    def __init__(
        self,
        store: RunStore,
        publisher: Publisher,
        rows: RowRecords,
        backoff: Backoff,
        now: Callable[[], datetime],
        pace: Callable[[str], Pace],
    ) -> None:
        """`publisher` waits longer for the broker than one for requests; `now` gives aware times.

        `pace` makes the pace of one file of a dataset.
        """
        self._store = store
        self._publisher = publisher
        self._rows = rows
        self._backoff = backoff
        self._now = now
        self._pace = pace

    def publish(
        self, dataset: Dataset, file: FileRecord, source: str, open_rows: Callable[[], Opened]
    ) -> int:
        """Publish all rows and wait for their acknowledgements; returns how many there were.

        A broker that is away is waited for. How many rows were received is on record whatever happens.

        Raises:
            FileRefused: a file-level error, found before any row was published.
            SourceError: the source broke off or changed; to be repeated from the first row.
            DatasetPaused: the same, once it is active again.
            Stopped: the process is to end.
        """
        return self._backoff.until_done(
            lambda: self._publish(dataset, file, source, open_rows), (BrokerUnavailable,)
        )

    def _publish(
        self, dataset: Dataset, file: FileRecord, source: str, open_rows: Callable[[], Opened]
    ) -> int:
        partitions = self._publisher.partitions(self._rows.topic)
        origin = Origin(
            dataset.organization_id,
            dataset.id,
            dataset.id_namespace,
            source,
            file.source_ref,
            self._now(),
            dataset.version,
        )
        pace = self._pace(dataset.id)
        unreadable = 0
        with self._publisher.bulk(self._backoff.check) as bulk, open_rows() as batches:
            try:
                for rows in batches:
                    self._backoff.check()
                    if not isinstance(rows, ColumnRows):
                        unreadable += sum(isinstance(row, UnreadableRow) for row in rows)
                    bulk.add(self._rows.of(origin, rows, partitions), FILE_DELIVERY_TIMEOUT_S)
                    pace.sent(len(rows))
                received = bulk.wait(FILE_DELIVERY_TIMEOUT_S + 5)
            except (DatasetPaused, SourceError):
                # what is in the topic by now was received, and the receipt counts it
                received = bulk.wait(FILE_DELIVERY_TIMEOUT_S + 5)
                self._store.advance(file.id, FileState.CLAIMED, received=received)
                raise
        FILE_ROWS.labels("unreadable").inc(unreadable)
        FILE_ROWS.labels("readable").inc(received - unreadable)
        log.info(
            "file_published", dataset_id=dataset.id, file_id=file.id, rows=received, unreadable=unreadable
        )
        return received
