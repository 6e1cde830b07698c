"""Moves a file that was dealt with to `Processed/` or `Error/`, in steps that may be repeated after a crash.

1. The destination is chosen and recorded. A crash before: another one may be chosen.
2. The object is copied there, marked with the record's id. A crash after: the mark shows that it is done.
3. `copied` is recorded.
4. The object is deleted from its first place, if it still is that version. A crash after: it is not
   there, which is as good.
5. `deleted` is recorded.
"""

import re
from datetime import UTC
from itertools import count
from typing import Final

import structlog

from producers.contracts import FINISHED_FILE_STATES, FileRecord, FileState, RunStore
from producers.errors import SourceChanged
from producers.metrics import FILES
from producers.s3 import Bucket, S3Object

log = structlog.get_logger(__name__)

PROCESSED: Final = "Processed/"
ERROR: Final = "Error/"
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]")


class Mover:
    """Takes files to their end state, from whatever state their record is in."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def settle(self, bucket: Bucket, file: FileRecord) -> FileRecord:
        """Finish a file whose rows are published, or that was refused."""
        found = bucket.find(file.source_ref)
        if file.state is not FileState.COPIED:
            file = self._copied(bucket, file, found)
        if file.state is FileState.COPIED:
            file = self._deleted(bucket, file, found)
        FILES.labels(_result(file)).inc()
        log.info("file_settled", dataset_id=file.dataset_id, file_id=file.id, result=_result(file))
        return file

    def with_destination(self, bucket: Bucket, file: FileRecord, found: S3Object, folder: str) -> FileRecord:
        """The record with a destination that is free, or that holds this very file already."""
        if file.destination and self._is_ours(bucket.head(file.destination), file, found):
            return file
        names = (destination(bucket.prefix, file, found, folder, again) for again in count(1))
        free = next(name for name in names if self._is_ours(bucket.head(name), file, found))
        return self._store.advance(file.id, file.state, destination=free)

    def put_away(self, bucket: Bucket, file: FileRecord, found: S3Object) -> None:
        """Move an object whose version was finished before; its rows are known."""
        names = (destination(bucket.prefix, file, found, PROCESSED, again) for again in count(2))
        bucket.copy(found, next(name for name in names if bucket.head(name) is None), file.id)
        bucket.delete(found)

    def _copied(self, bucket: Bucket, file: FileRecord, found: S3Object | None) -> FileRecord:
        """Steps 1 to 3; ends `replaced` when the object is gone and was never copied."""
        if found is None:
            there = file.destination is not None and bucket.head(file.destination) is not None
            return self._store.advance(file.id, FileState.COPIED if there else FileState.REPLACED)
        file = self.with_destination(bucket, file, found, PROCESSED if file.error is None else ERROR)
        target = file.destination or ""
        try:
            if bucket.head(target) is None:
                bucket.copy(found, target, file.id)
        except SourceChanged:
            return self._store.advance(file.id, FileState.REPLACED)
        return self._store.advance(file.id, FileState.COPIED)

    def _deleted(self, bucket: Bucket, file: FileRecord, found: S3Object | None) -> FileRecord:
        """Steps 4 and 5. An object that is another one by now is a new file and stays."""
        if found is not None:
            try:
                bucket.delete(found)
            except SourceChanged:
                log.info("source_replaced_meanwhile", dataset_id=file.dataset_id, file_id=file.id)
        return self._store.advance(file.id, FileState.DELETED)

    @staticmethod
    def _is_ours(there: S3Object | None, file: FileRecord, found: S3Object) -> bool:
        """Whether a destination is free or holds this file's content; nothing else is ever overwritten."""
        if there is None or there.mark == file.id:
            return True
        return (there.etag, there.size) == (found.etag, found.size)


def destination(prefix: str, file: FileRecord, found: S3Object, folder: str, again: int = 1) -> str:
    """Key that holds UTC time, version and the full source name: `Processed/<time>_<version>_<name>`."""
    time = file.claimed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    version = _UNFIT.sub("-", found.version)[:80]
    repeated = f"_{again}" if again > 1 else ""
    return f"{prefix}{folder}{time}_{version}{repeated}_{found.key.removeprefix(prefix)}"


def _result(file: FileRecord) -> str:
    """How a finished file is counted."""
    if file.state not in FINISHED_FILE_STATES or file.state is FileState.REPLACED:
        return "replaced"
    return "refused" if file.error else "processed"
