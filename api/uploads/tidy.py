"""Clears up what is over, and says that the directory is there so that others know what is lost."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from api.metrics import UPLOADS
from api.uploads.errors import SpoolLost
from api.uploads.repository import UploadState, UploadStore
from api.uploads.spool import Spool

log = structlog.get_logger(__name__)

EVERY_S: Final = 20.0
"""Seconds between two looks."""
LOST_AFTER: Final = timedelta(minutes=30)
"""When a directory that no process reports counts as lost. A process that was itself away must not judge
others by it: it waits as long after its start."""
_GONE: Final = "the file is gone from the spool; send it again, rows that were taken in count once"
_LOST: Final = (
    "no process has had the file for half an hour; send it again, rows that were taken in count once"
)


class Tidier:
    """Looks after one directory, for one thread."""

    def __init__(self, uploads: UploadStore, spool: Spool, now: Callable[[], datetime]) -> None:
        self._uploads = uploads
        self._spool = spool
        self._now = now
        self._began = now()
        self._tidied = float("-inf")

    def tidy(self) -> None:
        """Do what is due; `StoreUnavailable` when the database does not answer."""
        if time.monotonic() - self._tidied < EVERY_S:
            return
        self._uploads.seen()
        # asked before the directory is looked at: an upload is recorded after its file is there
        wanted = set(self._uploads.unfinished())
        there = set(self._spool.uploads())
        for upload_id in wanted - there:
            self._fail(upload_id, _GONE)
        for upload_id in there - wanted:
            self.clear(upload_id)
        self._report_lost()
        self._tidied = time.monotonic()

    def clear(self, upload_id: str) -> None:
        """Delete the file of an upload that is at an end, or was never recorded, and close its record.

        A file that is being received is locked and left alone, and so is one recorded a moment ago.
        """
        try:
            with self._spool.held(upload_id) as mine:
                if mine and upload_id not in self._uploads.unfinished():
                    self._uploads.close_file(upload_id)
                    self._spool.remove(upload_id)
        except SpoolLost:  # deleted by another process that shares the directory
            self._uploads.close_file(upload_id)

    def _report_lost(self) -> None:
        limit = self._now() - LOST_AFTER
        if self._began <= limit:
            for upload_id in self._uploads.lost(limit):
                self._fail(upload_id, _LOST)

    def _fail(self, upload_id: str, detail: str) -> None:
        if self._uploads.end(upload_id, UploadState.FAILED, None, detail):
            log.error("upload_lost", upload_id=upload_id, reason=detail)
            UPLOADS.labels(UploadState.FAILED.value).inc()
        self._uploads.close_file(upload_id)
