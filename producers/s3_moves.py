"""Moves a file that was dealt with to `Processed/` or `Error/`, in steps that may be repeated after a crash.

1. The destination is chosen and recorded. A crash before: another one may be chosen.
2. The object is copied there, marked with the record's id. A crash after: the mark shows that it is done.
3. `copied` is recorded.
4. The object is deleted from its first place, if it still is that version. A crash after: it is not
   there, which is as good.
5. `deleted` is recorded.

In a bucket with versions, deleting one brings back the one before. Those that were written over before they
were taken are ended between 3 and 4: recorded as `replaced`, with a destination, which says that they are
never to be read; copied there; deleted. Only when none is left the version that was taken is deleted.
"""

import hashlib
import re
from datetime import UTC
from itertools import count
from typing import Final

import structlog

from producers.contracts import FINISHED_FILE_STATES, FileRecord, FileState, RunStore
from producers.errors import SourceChanged
from producers.metrics import FILES
from producers.s3 import MAX_COPY_BYTES, Bucket, S3Object

log = structlog.get_logger(__name__)

PROCESSED: Final = "Processed/"
ERROR: Final = "Error/"
REPLACED: Final = "replaced_"
"""Begins the name of a version that was written over before it was taken."""
REPORT: Final = ".errors.csv"
MAX_KEY_BYTES: Final = 1024
"""Amazon S3 user guide, "Creating object key names": in UTF-8."""
_SOURCE: Final = "s3"
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
        known = file.destination
        if known and _fits(known) and self._is_ours(bucket.head(known), file, found):
            return file
        free = self._free(bucket, file, found, folder)
        return self._store.advance(file.id, file.state, destination=free)

    def _free(self, bucket: Bucket, file: FileRecord, found: S3Object, folder: str) -> str:
        names = (destination(bucket.prefix, file, found, folder, again) for again in count(1))
        return next(name for name in names if self._is_ours(bucket.head(name), file, found))

    def keep_replaced(self, bucket: Bucket, file: FileRecord, found: S3Object) -> None:
        """Move a version that is recorded as `replaced`, with its destination; none of its rows is read.

        One too large to be copied stays where it is.
        """
        if found.size > MAX_COPY_BYTES or not file.destination:
            return
        try:
            if bucket.head(file.destination) is None:
                bucket.copy(found, file.destination, file.id)
            bucket.delete(found)
        except SourceChanged:
            log.info("source_replaced_meanwhile", dataset_id=file.dataset_id, file_id=file.id)

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
            self._end_earlier(bucket, file, found)
            try:
                bucket.delete(found)
            except SourceChanged:
                log.info("source_replaced_meanwhile", dataset_id=file.dataset_id, file_id=file.id)
        return self._store.advance(file.id, FileState.DELETED)

    def _end_earlier(self, bucket: Bucket, file: FileRecord, found: S3Object) -> None:
        """End the versions that the taken one replaced: they would come back as if they were newer."""
        folder = f"{PROCESSED if file.error is None else ERROR}{REPLACED}"
        for earlier in bucket.earlier(found):
            ref = bucket.source_ref(earlier)
            old = self._store.claim(file.run_id, file.dataset_id, _SOURCE, ref)
            if old.state not in (FileState.CLAIMED, FileState.REPLACED):
                continue  # it was taken as well, and its own record ends it
            if old.state is FileState.CLAIMED or old.destination is None:
                free = self._free(bucket, old, earlier, folder)
                old = self._store.advance(old.id, FileState.REPLACED, destination=free)
                log.info("file_replaced", dataset_id=old.dataset_id, file_id=old.id, by=file.id)
            self.keep_replaced(bucket, old, earlier)

    @staticmethod
    def _is_ours(there: S3Object | None, file: FileRecord, found: S3Object) -> bool:
        """Whether a destination is free or holds this file's content; nothing else is ever overwritten."""
        if there is None or there.mark == file.id:
            return True
        return (there.etag, there.size) == (found.etag, found.size)


def destination(prefix: str, file: FileRecord, found: S3Object, folder: str, again: int = 1) -> str:
    """Key that holds UTC time, version and the full source name: `Processed/<time>_<version>_<name>`.

    Of a name too long for that a hash and its end are kept; there is room for `REPORT` behind the key.
    """
    time = file.claimed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    version = _UNFIT.sub("-", found.version)[:80]
    repeated = f"_{again}" if again > 1 else ""
    begin = f"{prefix}{folder}{time}_{version}{repeated}_"
    name = found.key.removeprefix(prefix)
    if _fits(begin + name):
        return begin + name
    begin += f"{hashlib.sha256(name.encode()).hexdigest()[:16]}_"
    room = max(MAX_KEY_BYTES - len((begin + REPORT).encode()), 0)
    return begin + name.encode()[len(name.encode()) - room :].decode(errors="ignore")


def _fits(key: str) -> bool:
    """Whether a store takes the key, and that of a report beside it."""
    return len((key + REPORT).encode()) <= MAX_KEY_BYTES


def _result(file: FileRecord) -> str:
    """How a finished file is counted."""
    if file.state not in FINISHED_FILE_STATES or file.state is FileState.REPLACED:
        return "replaced"
    return "refused" if file.error else "processed"
