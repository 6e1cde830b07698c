"""Publishes the uploads that the spool has, one after the other, beside the requests.

An upload: lock its file → claim → publish its rows → all acknowledged → record `done` → record `published`,
forget the key → delete the file. After a crash at any point the file is still in the spool and is gone on
with from there; one that was being published is published again from its first row, with the same
`source_ref` and lines, and its receipt counts each line once.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from api.datasets.runs import SqlRunStore
from api.datasets.source import SqlDatasetSource
from api.db import Database, now_ms
from api.metrics import UPLOADS
from api.sealing import CredentialBox
from api.uploads.errors import Cancelled, SpoolLost
from api.uploads.faults import Unexpected, kept, place_of, told
from api.uploads.keys import open_key
from api.uploads.repository import Job, UploadState, UploadStore
from api.uploads.spool import Spool
from api.uploads.table import PROFILE, UploadedTable, opened
from api.uploads.targets import SOURCE
from api.uploads.tidy import Tidier
from producers import contracts
from producers.backoff import Backoff, Stopped
from producers.contracts import FileRecord, FileState, StoreUnavailable
from producers.errors import DatasetPaused, FileRefused
from producers.feed import RowFeed
from producers.pace import Pace
from producers.publisher import Publisher
from producers.rows import RowRecords
from producers.tabular import Row

log = structlog.get_logger(__name__)

POLL_S: Final = 0.5
"""How often uploads are looked for."""
PROGRESS_S: Final = 1.0
"""How often it is recorded how far a file is."""


class UploadWorker:
    """Serves one directory. Runs in a thread of its own.

    Args:
        publisher: waits longer for the broker than one for requests.
        unjudged: counts rows that are published and not judged yet.
        now: the present, aware.
    """

    def __init__(
        self,
        db: Database,
        box: CredentialBox,
        spool: Spool,
        publisher: Publisher,
        rows: RowRecords,
        unjudged: Callable[[], int],
        now: Callable[[], datetime] = now_ms,
    ) -> None:
        self._stop = threading.Event()
        self._backoff = Backoff(self._stop)
        self._box = box
        self._datasets = SqlDatasetSource(db, box)
        self._spool = spool
        self._uploads = UploadStore(db, spool.id)
        self._files = SqlRunStore(db)
        self._unjudged = unjudged
        self._feed = RowFeed(self._files, publisher, rows, self._backoff, now, self._pace)
        self._tidier = Tidier(self._uploads, spool, now)

    def stop(self) -> None:
        """Ask it to end soon; a file under way is published again at the next start."""
        self._stop.set()

    @property
    def moved_at(self) -> float:
        """`time.monotonic()` of its last sign of life."""
        return self._backoff.moved_at

    def run(self) -> None:
        """Serve until `stop` is called. A database that is away is waited for, and so is the end of any
        other fault, such as of the disk: nobody would start this thread again.
        """
        try:
            while True:
                self._backoff.until_done(self._step_told, (StoreUnavailable, Unexpected))
                self._backoff.pause(POLL_S)
        except Stopped:
            log.info("upload_worker_stopped")

    def _step_told(self) -> None:
        """A step whose faults are all told and of our own kind."""
        with told("upload_worker_failed"):
            self.step()

    def step(self) -> int:
        """Publish what can be published now; returns how many uploads ended.

        Raises:
            Stopped: the process is to end.
            StoreUnavailable: the database does not answer.
            Unexpected: one upload, or the tidying, failed; the others were served.
        """
        faults: list[Unexpected] = []
        ended = 0
        with kept(faults), told("upload_tidying_failed"):
            self._tidier.tidy()
        for job in self._uploads.jobs():
            with kept(faults), told("upload_not_served", upload_id=job.id):
                ended += self._serve(job)
        if faults:
            raise faults[0]
        return ended

    def _serve(self, job: Job) -> bool:
        """Bring one upload to its end, unless another process has it or it has to wait."""
        try:
            with self._spool.held(job.id) as mine:
                if not mine or not self._uploads.begin(job):
                    return False
                ended = self._published(job)
        except SpoolLost as lost:  # the disk, not the file: what was published of it stays
            log.error("upload_lost", upload_id=job.id, reason=str(lost))
            detail = f"{lost}; send it again, rows that were taken in count once"
            ended = self._end(job, UploadState.FAILED, detail=detail)
        if ended:
            self._tidier.clear(job.id)
        return ended

    def _published(self, job: Job) -> bool:
        """Publish the rows of an upload; False when it has to wait. Whatever is wrong with one upload must
        not stop the others.

        Raises:
            SpoolLost: the file cannot be read back.
        """
        file = self._files.claim(job.run_id, job.dataset_id, SOURCE, job.source_ref)
        try:
            if file.state is not FileState.DONE:  # else the process died between the two records
                received = self._feed.publish(_dataset(job), file, SOURCE, partial(self._rows, job, file))
                file = self._files.advance(
                    file.id, FileState.DONE, received=received, content_hash=job.content_hash
                )
        except (Stopped, StoreUnavailable, SpoolLost):
            raise
        except DatasetPaused:
            self._uploads.put_back(job.id)
            return False
        except Cancelled:
            return True  # its end is on record
        except FileRefused as refusal:
            return self._refused(job, file, refusal)
        except Exception as error:  # noqa: BLE001 - told in the log and in the upload; the loop must go on
            return self._failed(job, error)
        return self._end(job, UploadState.PUBLISHED, detail=file.detail, rows=file.received)

    @contextmanager
    def _rows(self, job: Job, file: FileRecord) -> Iterator[Iterable[Sequence[Row]]]:
        """The rows of an upload; what is left out, and how far they are read, is on record while they are."""
        key = open_key(self._box, job.id, job.sealed_key)
        with opened(partial(self._spool.open, job.id, key)) as table:
            if table.left_out:
                self._files.advance(file.id, FileState.CLAIMED, detail=table.left_out)
            yield self._noted(job, table)

    def _noted(self, job: Job, table: UploadedTable) -> Iterator[Sequence[Row]]:
        noted = time.monotonic()
        for rows in table.batches():
            yield rows
            if time.monotonic() - noted >= PROGRESS_S:
                self._note(job, table)
                noted = time.monotonic()
        self._note(job, table)

    def _note(self, job: Job, table: UploadedTable) -> None:
        noted = partial(self._uploads.progress, job.id, table.bytes_read, table.rows_read)
        # a database that is away for a moment must not begin the file anew
        if not self._backoff.until_done(noted, (StoreUnavailable,)):
            raise Cancelled("cancelled while it was published")

    def _pace(self, dataset_id: str) -> Pace:
        """The pace of one upload."""
        is_active = partial(self._datasets.is_active, dataset_id)
        return Pace(
            self._unjudged,
            lambda: self._backoff.until_done(is_active, (StoreUnavailable,)),
            self._backoff.pause,
        )

    def _refused(self, job: Job, file: FileRecord, refusal: FileRefused) -> bool:
        """A file-level error that only shows when the file is read to its end."""
        self._files.advance(
            file.id,
            FileState.DONE,
            error=refusal.code.value,
            detail=refusal.detail,
            content_hash=job.content_hash,
        )
        return self._end(job, UploadState.FAILED, refusal.code.value, refusal.detail)

    def _failed(self, job: Job, error: Exception) -> bool:
        log.error(
            "upload_failed_unexpectedly", upload_id=job.id, error=type(error).__name__, where=place_of(error)
        )
        detail = f"unexpected {type(error).__name__}; send it again, rows that were taken in count once"
        return self._end(job, UploadState.FAILED, detail=detail)

    def _end(
        self,
        job: Job,
        state: UploadState,
        error: str | None = None,
        detail: str | None = None,
        rows: int | None = None,
    ) -> bool:
        if self._uploads.end(job.id, state, error, detail, rows):
            UPLOADS.labels(state.value).inc()
            log.info(
                "upload_ended", upload_id=job.id, dataset_id=job.dataset_id, state=state.value, code=error
            )
        return True


def _dataset(job: Job) -> contracts.Dataset:
    return contracts.Dataset(
        id=job.dataset_id,
        organization_id=job.organization_id,
        profile=PROFILE,
        schedule="",
        location=None,
        id_namespace=job.id_namespace,
    )
