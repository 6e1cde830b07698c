"""One look at a dataset's bucket: what waits there is published and moved, what does not belong is refused.

A file: claim → publish its rows → all acknowledged → record `published` → move (`s3_moves`). After a
crash at any point the file is found in its recorded state and goes on from there; a file that was only
claimed is published again from its first row, with the same `source_ref` and lines.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from producers.addresses import Hosts
from producers.backoff import Backoff
from producers.contracts import Dataset, FileRecord, FileState, Run, RunStore, S3Location
from producers.errors import FileRefused, SourceChanged
from producers.feed import RowFeed
from producers.hashing import HashingSource
from producers.refusals import report_of
from producers.s3 import Bucket, S3Object
from producers.s3_moves import ERROR, Mover
from producers.tabular import Row, Table
from schemas.fields import FILE_NAME
from schemas.outcomes import Code

log = structlog.get_logger(__name__)

SOURCE: Final = "s3"
_VERSIONS_AT_ONCE: Final = 5
_WRONG_NAME: Final = FileRefused(Code.WRONG_NAME, f"the file must be named exactly {FILE_NAME}")


class S3Intake:
    """Looks through buckets, one dataset at a time. Blocks; belongs to the poller's thread."""

    def __init__(self, store: RunStore, feed: RowFeed, backoff: Backoff, hosts: Hosts) -> None:
        """`hosts` are those that may be connected to."""
        self._store = store
        self._feed = feed
        self._backoff = backoff
        self._hosts = hosts
        self._mover = Mover(store)

    def run(self, dataset: Dataset, location: S3Location, run: Run) -> str | None:
        """Deal with everything in the dataset's bucket; says so when there was nothing.

        Raises:
            Stopped: the process is to end; everything unfinished is on record.
            SourceError: the bucket does not answer, or refuses.
            ProducerError: the dataset cannot be served as it is, or was paused meanwhile.
        """
        bucket = Bucket(location, self._hosts, self._backoff.check)
        try:
            unfinished = self._store.unfinished(dataset.id)
            for file in unfinished:
                self._go_on(dataset, run, bucket, file)
            keys = list(bucket.list())
            left_alone = sum(self._object(dataset, run, bucket, key) for key in keys)
            if left_alone:
                return f"objects left alone that were not seen before, because they are no .csv: {left_alone}"
            return None if unfinished or keys else "nothing was found under the prefix"
        finally:
            bucket.close()

    def _go_on(self, dataset: Dataset, run: Run, bucket: Bucket, file: FileRecord) -> None:
        """Finish what an earlier run began; in a bucket with versions even a file since written over."""
        file = self._store.claim(run.id, dataset.id, SOURCE, file.source_ref)
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

    def _object(self, dataset: Dataset, run: Run, bucket: Bucket, key: str) -> bool:
        """Deal with one object directly under the prefix; whether it is left alone and reported for that."""
        name = key.removeprefix(bucket.prefix)
        if not name or name.endswith("/"):
            return False  # what consoles create for an empty folder
        if not name.lower().endswith(".csv"):
            new = self._store.report_once(dataset.id, key)
            if new:
                log.warning("object_left_alone", dataset_id=dataset.id, key=key)
            return new
        for _ in range(_VERSIONS_AT_ONCE):
            try:
                self._file(dataset, run, bucket, key)
                return False
            except SourceChanged:
                log.info("file_changed_while_read", dataset_id=dataset.id)
        raise SourceChanged("the file changes faster than it is read")

    def _file(self, dataset: Dataset, run: Run, bucket: Bucket, key: str) -> None:
        """Deal with one version of a file."""
        found = bucket.head(key)
        if found is None:
            return
        file = self._store.claim(run.id, dataset.id, SOURCE, bucket.source_ref(found))
        if file.state is FileState.DELETED:
            # The same bytes dropped again within a second: every row of them is known.
            self._mover.put_away(bucket, file, found)
            return
        if file.state is FileState.REPLACED:
            file = self._store.advance(file.id, FileState.CLAIMED)
        if file.state is FileState.CLAIMED:
            file = self._judged(dataset, bucket, found, file)
        self._mover.settle(bucket, file)

    def _judged(self, dataset: Dataset, bucket: Bucket, found: S3Object, file: FileRecord) -> FileRecord:
        """The file published, or refused with a report."""
        try:
            if found.key.removeprefix(bucket.prefix) != FILE_NAME:
                raise _WRONG_NAME
            received = self._feed.publish(
                dataset, file, SOURCE, lambda: self._rows(dataset, bucket, found, file)
            )
        except FileRefused as refusal:
            file = self._mover.with_destination(bucket, file, found, ERROR)
            bucket.put(f"{file.destination}.errors.csv", report_of(refusal), "text/csv; charset=utf-8")
            log.warning("file_refused", dataset_id=dataset.id, file_id=file.id, code=refusal.code.value)
            return self._store.advance(
                file.id, FileState.REFUSED, error=refusal.code.value, detail=refusal.detail
            )
        except SourceChanged:
            self._store.advance(file.id, FileState.REPLACED)
            raise
        return self._store.advance(file.id, FileState.PUBLISHED, received=received)

    @contextmanager
    def _rows(
        self, dataset: Dataset, bucket: Bucket, found: S3Object, file: FileRecord
    ) -> Iterator[Iterable[Sequence[Row]]]:
        """The rows of one version of an object; when all were read its hash is on record."""
        body = bucket.open(found)
        source = HashingSource(body)
        try:
            yield Table(source, dataset.profile, lambda: bucket.open(found)).batches()
            self._store.advance(file.id, file.state, content_hash=source.content_hash)
        finally:
            body.close()
