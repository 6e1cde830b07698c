"""One look at a dataset's bucket: what waits there is published and moved, what does not belong is refused.

A file: claim → publish its rows → all acknowledged → record `published` → move (`s3_moves`). After a
crash at any point the file is found in its recorded state and goes on from there; a file that was only
claimed is published again from its first row, with the same `source_ref` and lines.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

import structlog

from producers.addresses import Hosts
from producers.backoff import Backoff
from producers.contracts import FileRecord, FileState, Run, RunStore, S3Dataset
from producers.errors import BrokerUnavailable, DatasetPaused, FileRefused, ProducerError, SourceChanged
from producers.metrics import FILE_ROWS
from producers.pace import Pace
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from producers.rows import Origin, RowRecords
from producers.s3 import Bucket, S3Object
from producers.s3_moves import ERROR, Mover
from producers.tabular import Table, UnreadableRow
from schemas.csv_cells import harmless
from schemas.fields import PROFILES
from schemas.outcomes import Code

log = structlog.get_logger(__name__)

FILE_NAME: Final = "ELECTRICITY_PAYMENT.csv"
"""The one name a payments file has (seed payments-s3)."""
ROWS_AT_ONCE: Final = 500
_VERSIONS_AT_ONCE: Final = 5
_WRONG_NAME: Final = FileRefused(Code.WRONG_NAME, f"the file must be named exactly {FILE_NAME}")
Item = TypeVar("Item")


class S3Intake:
    """Looks through buckets, one dataset at a time. Blocks; belongs to the poller's thread."""

    def __init__(
        self,
        store: RunStore,
        publisher: Publisher,
        rows: RowRecords,
        backoff: Backoff,
        now: Callable[[], datetime],
        pace: Callable[[str], Pace],
        hosts: Hosts,
    ) -> None:
        """`publisher` waits longer for the broker than one for requests; `now` gives aware times.

        `pace` makes the pace of one file of a dataset; `hosts` are those that may be connected to.
        """
        self._store = store
        self._publisher = publisher
        self._rows = rows
        self._backoff = backoff
        self._now = now
        self._pace = pace
        self._hosts = hosts
        self._mover = Mover(store)

    def run(self, dataset: S3Dataset, run: Run) -> int:
        """Deal with everything in the dataset's bucket; returns how many objects that were.

        Raises:
            Stopped: the process is to end; everything unfinished is on record.
            SourceError: the bucket does not answer, or refuses.
            ProducerError: the dataset cannot be served as it is, or was paused meanwhile.
        """
        if dataset.profile not in PROFILES:
            raise ProducerError(f"there is no profile {dataset.profile!r}")
        bucket = Bucket(dataset.location, self._hosts)
        try:
            unfinished = self._store.unfinished(dataset.id)
            for file in unfinished:
                self._backoff.check()
                self._go_on(dataset, run, bucket, file)
            keys = list(bucket.list())
            for key in keys:
                self._backoff.check()
                self._object(dataset, run, bucket, key)
            return len(unfinished) + len(keys)
        finally:
            bucket.close()

    def _go_on(self, dataset: S3Dataset, run: Run, bucket: Bucket, file: FileRecord) -> None:
        """Finish what an earlier run began; in a bucket with versions even a file since written over."""
        file = self._store.claim(run.id, dataset.id, file.source_ref)
        if file.state is FileState.CLAIMED:
            found = bucket.find(file.source_ref)
            if found is None:
                self._store.advance(file.id, FileState.REPLACED)
                return
            try:
                file = self._judged(dataset, bucket, found, file)
            except SourceChanged:
                return  # recorded; what took its place is a file of its own
        self._mover.settle(bucket, file)

    def _object(self, dataset: S3Dataset, run: Run, bucket: Bucket, key: str) -> None:
        """Deal with one object directly under the prefix."""
        name = key.removeprefix(bucket.prefix)
        if not name or name.endswith("/"):
            return  # what consoles create for an empty folder
        if not name.lower().endswith(".csv"):
            if self._store.report_once(dataset.id, key):
                log.warning("object_left_alone", dataset_id=dataset.id, key=key)
            return
        for _ in range(_VERSIONS_AT_ONCE):
            try:
                return self._file(dataset, run, bucket, key)
            except SourceChanged:
                log.info("file_changed_while_read", dataset_id=dataset.id)
        raise SourceChanged("the file changes faster than it is read")

    def _file(self, dataset: S3Dataset, run: Run, bucket: Bucket, key: str) -> None:
        """Deal with one version of a file."""
        found = bucket.head(key)
        if found is None:
            return
        file = self._store.claim(run.id, dataset.id, bucket.source_ref(found))
        if file.state is FileState.DELETED:
            # The same bytes dropped again within a second: every row of them is known.
            self._mover.put_away(bucket, file, found)
            return
        if file.state is FileState.REPLACED:
            file = self._store.advance(file.id, FileState.CLAIMED)
        if file.state is FileState.CLAIMED:
            file = self._judged(dataset, bucket, found, file)
        self._mover.settle(bucket, file)

    def _judged(self, dataset: S3Dataset, bucket: Bucket, found: S3Object, file: FileRecord) -> FileRecord:
        """The file published, or refused with a report."""
        try:
            if found.key.removeprefix(bucket.prefix) != FILE_NAME:
                raise _WRONG_NAME
            received = self._backoff.until_done(
                lambda: self._publish(dataset, bucket, found, file), (BrokerUnavailable,)
            )
        except FileRefused as refusal:
            file = self._mover.with_destination(bucket, file, found, ERROR)
            bucket.put(f"{file.destination}.errors.csv", _report(refusal), "text/csv; charset=utf-8")
            log.warning("file_refused", dataset_id=dataset.id, file_id=file.id, code=refusal.code.value)
            return self._store.advance(file.id, FileState.REFUSED, error=refusal.code.value)
        except SourceChanged:
            self._store.advance(file.id, FileState.REPLACED)
            raise
        return self._store.advance(file.id, FileState.PUBLISHED, received=received)

    def _publish(self, dataset: S3Dataset, bucket: Bucket, found: S3Object, file: FileRecord) -> int:
        """Publish all rows and wait for their acknowledgements; returns how many there were.

        Raises:
            FileRefused: a file-level error, found before any row was published.
            BrokerUnavailable: not all were acknowledged; to be repeated from the first row.
            DatasetPaused: the same, once it is active again.
        """
        partitions = self._publisher.partitions(self._rows.topic)
        origin = Origin(
            dataset.organization_id,
            dataset.id,
            dataset.id_namespace,
            "s3",
            file.source_ref,
            self._now(),
        )
        body = bucket.open(found)
        pace = self._pace(dataset.id)
        unreadable = 0
        group = self._publisher.group(self._backoff.check)
        try:
            for rows in _batches(Table(body, dataset.profile), ROWS_AT_ONCE):
                self._backoff.check()
                unreadable += sum(isinstance(row, UnreadableRow) for row in rows)
                for record in self._rows.of(origin, rows, partitions):
                    group.add_waiting(record, FILE_DELIVERY_TIMEOUT_S)
                pace.sent(len(rows))
            received = group.wait(FILE_DELIVERY_TIMEOUT_S + 5)
        except (DatasetPaused, SourceChanged):
            # what is in the topic by now was received, and the receipt counts it
            received = group.wait(FILE_DELIVERY_TIMEOUT_S + 5)
            self._store.advance(file.id, FileState.CLAIMED, received=received)
            raise
        finally:
            body.close()
        FILE_ROWS.labels("unreadable").inc(unreadable)
        FILE_ROWS.labels("readable").inc(received - unreadable)
        log.info(
            "file_published", dataset_id=dataset.id, file_id=file.id, rows=received, unreadable=unreadable
        )
        return received


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _report(refusal: FileRefused) -> bytes:
    """The error report beside a refused file: reasons only, nothing of its content."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["line", "field", "code", "detail"])
    writer.writerow(["1", "", refusal.code.value, harmless(refusal.detail)])
    return text.getvalue().encode()
