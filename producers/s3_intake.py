"""One look at a dataset's bucket: what waits there is published and moved, what does not belong is refused.

A file: claim → publish its rows → all acknowledged → record `published` → move (`s3_moves`). After a
crash at any point the file is found in its recorded state and goes on from there; a file that was only
claimed is published again from its first row, with the same `source_ref` and lines. An object that cannot
be dealt with holds up no other: the run goes on, and fails at its end.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from producers.addresses import Hosts
from producers.backoff import Backoff
from producers.contracts import (
    FINISHED_FILE_STATES,
    Dataset,
    FileRecord,
    FileState,
    Run,
    RunStore,
    S3Location,
)
from producers.errors import FileRefused, SourceChanged
from producers.feed import RowFeed
from producers.hashing import HashingSource
from producers.metrics import FILES
from producers.refusals import report_of
from producers.s3 import MAX_COPY_BYTES, Bucket, S3Object
from producers.s3_moves import ERROR, REPORT, Mover
from producers.s3_troubles import Troubles, alias
from producers.tabular import Row, Table
from schemas.fields import FILE_NAME
from schemas.outcomes import Code

log = structlog.get_logger(__name__)

SOURCE: Final = "s3"
_VERSIONS_AT_ONCE: Final = 5


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
            SourceError: the bucket does not answer or refuses, or some of its objects could not be dealt
                with; all others were.
            ProducerError: the dataset cannot be served as it is, or was paused meanwhile.
        """
        bucket = Bucket(location, self._hosts, self._backoff.check)
        troubles = Troubles(dataset.id, bucket.prefix)
        try:
            unfinished = self._store.unfinished(dataset.id)
            for file in unfinished:
                with troubles.collected(bucket.key_of(file.source_ref), file.source_ref):
                    self._go_on(dataset, run, bucket, file)
            keys = list(bucket.list())
            left_alone = 0
            for key in keys:
                with troubles.collected(key):
                    left_alone += self._object(dataset, run, bucket, key, troubles)
            troubles.tell()
            if left_alone:
                return f"objects left alone that were not seen before, because they are no .csv: {left_alone}"
            return None if unfinished or keys else "nothing was found under the prefix"
        finally:
            bucket.close()

    def _go_on(self, dataset: Dataset, run: Run, bucket: Bucket, file: FileRecord) -> None:
        """Finish what an earlier run began; in a bucket with versions even a file since written over."""
        file = self._store.claim(run.id, dataset.id, SOURCE, file.source_ref)
        if file.state in FINISHED_FILE_STATES:
            return  # ended with a version that was written over it
        if file.state is FileState.CLAIMED:
            found = bucket.find(file.source_ref)
            if found is None:
                self._store.advance(file.id, FileState.REPLACED)
                return
            try:
                file = self._judged(dataset, bucket, found, file)
            except SourceChanged:
                return  # recorded; what took its place is a file of its own
        self._settle(bucket, file)

    def _object(self, dataset: Dataset, run: Run, bucket: Bucket, key: str, troubles: Troubles) -> bool:
        """Deal with one object directly under the prefix; whether it is left alone and reported for that."""
        name = key.removeprefix(bucket.prefix)
        if not name or name.endswith("/"):
            return False  # what consoles create for an empty folder
        if not name.lower().endswith(".csv"):
            new = self._store.report_once(dataset.id, key)
            if new:
                log.warning("object_left_alone", dataset_id=dataset.id, object=alias(bucket.prefix, key))
            return new
        for _ in range(_VERSIONS_AT_ONCE):
            try:
                self._file(dataset, run, bucket, key, troubles)
                return False
            except SourceChanged:
                log.info("file_changed_while_read", dataset_id=dataset.id)
        raise SourceChanged("the file changes faster than it is read")

    def _file(self, dataset: Dataset, run: Run, bucket: Bucket, key: str, troubles: Troubles) -> None:
        """Deal with one version of a file."""
        found = bucket.head(key)
        if found is None or bucket.source_ref(found) in troubles:
            return
        file = self._store.claim(run.id, dataset.id, SOURCE, bucket.source_ref(found))
        if file.state is FileState.DELETED:
            # The same bytes dropped again within a second: every row of them is known.
            self._mover.put_away(bucket, file, found)
            return
        if file.state is FileState.REPLACED and file.destination:
            self._mover.keep_replaced(bucket, file, found)
            return
        if file.state is FileState.REPLACED:
            file = self._store.advance(file.id, FileState.CLAIMED)
        if file.state is FileState.CLAIMED:
            file = self._judged(dataset, bucket, found, file)
        self._settle(bucket, file)

    def _settle(self, bucket: Bucket, file: FileRecord) -> None:
        if file.state is not FileState.DONE:  # refused and too large to be moved
            self._mover.settle(bucket, file)

    def _judged(self, dataset: Dataset, bucket: Bucket, found: S3Object, file: FileRecord) -> FileRecord:
        """The file published, or refused with a report."""
        try:
            refuse_unfit(found.key.removeprefix(bucket.prefix), found.size)
            received = self._feed.publish(
                dataset, file, SOURCE, lambda: self._rows(dataset, bucket, found, file)
            )
        except FileRefused as refusal:
            file = self._mover.with_destination(bucket, file, found, ERROR)
            bucket.put(f"{file.destination}{REPORT}", report_of(refusal), "text/csv; charset=utf-8")
            log.warning("file_refused", dataset_id=dataset.id, file_id=file.id, code=refusal.code.value)
            state = FileState.REFUSED
            if found.size > MAX_COPY_BYTES:
                state = FileState.DONE
                FILES.labels("refused").inc()
            return self._store.advance(file.id, state, error=refusal.code.value, detail=refusal.detail)
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


def refuse_unfit(name: str, size: int) -> None:
    """Look at what is known of a file before it is read.

    Raises:
        FileRefused: its name is another one, or it has more bytes than a store copies at once.
    """
    if name != FILE_NAME:
        text = f"the file must be named exactly {FILE_NAME}; found {name[-80:]!r}"
        raise FileRefused(Code.WRONG_NAME, text)
    if size > MAX_COPY_BYTES:
        raise FileRefused(
            Code.TOO_LARGE,
            f"the file has {size} bytes, expected at most {MAX_COPY_BYTES}: split it; no row of it was read, "
            "and it stays where it is, because stores move no more at once",
        )
