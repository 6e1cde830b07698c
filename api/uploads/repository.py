"""Uploads in SQL: how each one goes on. Every method is one committed transaction.

    waiting → publishing → published
        ↘         ↓    ↘ waiting (its dataset was paused)
          failed, cancelled

A step that is recorded twice changes nothing; what is at an end stays there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CursorResult, Update, select, update
from sqlalchemy.orm import Session

from api.datasets.source import store_errors
from api.db import Database, now_ms
from api.errors import NotFound
from api.ids import is_id
from api.models import Dataset, Organization
from api.outbox import announced
from api.paging import PageQuery
from api.tables import Run, RunFile, Upload
from producers.contracts import FileState, RunState


class UploadState(StrEnum):
    """Life of an upload. `published`: every row is in the topic."""

    WAITING = "waiting"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = (UploadState.WAITING, UploadState.PUBLISHING)


@dataclass(frozen=True, slots=True)
class Job:
    """An upload to be published."""

    id: str
    run_id: str
    source_ref: str
    content_hash: str
    sealed_key: str = field(repr=False)
    dataset_id: str
    organization_id: str
    id_namespace: str


def source_ref(upload: Upload) -> str:
    """Names the file in the lineage of its rows: another upload of the same bytes has another one."""
    return f"upload://{upload.id}/{upload.file_name}@{upload.content_hash[:16]}"


class UploadStore:
    """The record of the uploads that one directory has.

    Raises (every method): `StoreUnavailable`, the database does not answer.
    """

    def __init__(self, db: Database, spool_id: str) -> None:
        self._db = db
        self._spool = spool_id

    def jobs(self) -> list[Job]:
        """What can be published now, oldest first: datasets that are active and known to the streams."""
        query = (
            select(Upload, Dataset.id_namespace)
            .join(Dataset, Dataset.id == Upload.dataset_id)
            .join(Organization, Organization.id == Upload.organization_id)
            .where(Upload.state.in_(UNFINISHED), Upload.spool == self._spool)
            .where(Dataset.state == "active", ~Dataset.archived, ~Organization.archived)
            .where(announced(Dataset.id), announced(Organization.id))
            .order_by(Upload.number)
        )
        with store_errors(), self._db.read() as session:
            return [
                Job(
                    upload.id,
                    upload.run_id,
                    source_ref(upload),
                    upload.content_hash,
                    upload.sealed_key,
                    upload.dataset_id,
                    upload.organization_id,
                    namespace,
                )
                for upload, namespace in session.execute(query)
            ]

    def unfinished(self) -> list[str]:
        """Ids of all uploads whose file must be in the directory."""
        query = select(Upload.id).where(Upload.state.in_(UNFINISHED), Upload.spool == self._spool)
        with store_errors(), self._db.read() as session:
            return list(session.scalars(query))

    def begin(self, job: Job) -> bool:
        """Record that it is published from the first row on; False when it was cancelled."""
        run = update(Run).where(Run.id == job.run_id).values(state=RunState.RUNNING, started_at=now_ms())
        values = {"state": UploadState.PUBLISHING, "bytes_read": 0, "rows_read": 0}
        with store_errors(), self._db.write() as session:
            begun = _changed(session, _of(job.id).values(**values))
            if begun:
                session.execute(run)
            return begun

    def progress(self, upload_id: str, bytes_read: int, rows_read: int) -> bool:
        """Record how far it is; False when it was cancelled."""
        values = {"bytes_read": bytes_read, "rows_read": rows_read, "seen_at": now_ms()}
        with store_errors(), self._db.write() as session:
            return _changed(session, _of(upload_id).values(**values))

    def put_back(self, upload_id: str) -> None:
        """Record that it waits for its dataset."""
        with store_errors(), self._db.write() as session:
            session.execute(_of(upload_id).values(state=UploadState.WAITING))

    def end(
        self,
        upload_id: str,
        state: UploadState,
        error: str | None = None,
        detail: str | None = None,
        rows: int | None = None,
    ) -> bool:
        """Record its end and that of its run; the key is forgotten. False when it is at an end already.

        `rows` are those of the whole file, when all of it was read.
        """
        with store_errors(), self._db.write() as session:
            query = select(Upload).where(Upload.id == upload_id, Upload.state.in_(UNFINISHED))
            upload = session.scalar(query.with_for_update())
            if upload is not None:
                end(session, upload, state, error, detail)
            if upload is not None and rows is not None:
                upload.bytes_read, upload.rows_read = upload.bytes_total, rows
        return upload is not None

    def close_file(self, upload_id: str) -> None:
        """End the record of the file of an upload that is at an end, if nobody ended it.

        Its publishing broke off, then: more of its rows may be in the topic than are on record, and its
        receipt looks for them.
        """
        run_of = select(Upload.run_id).where(Upload.id == upload_id).scalar_subquery()
        open_file = RunFile.run_id == run_of, RunFile.state == FileState.CLAIMED
        with store_errors(), self._db.write() as session:
            session.execute(
                update(RunFile).where(*open_file).values(state=FileState.REPLACED, finished_at=now_ms())
            )

    def seen(self) -> None:
        """Record that this directory is there, with its unfinished uploads."""
        query = update(Upload).where(Upload.state.in_(UNFINISHED), Upload.spool == self._spool)
        with store_errors(), self._db.write() as session:
            session.execute(query.values(seen_at=now_ms()))

    def lost(self, before: datetime) -> Sequence[str]:
        """Ids of unfinished uploads of other directories, not seen since a moment."""
        query = select(Upload.id).where(Upload.state.in_(UNFINISHED), Upload.spool != self._spool)
        with store_errors(), self._db.read() as session:
            return session.scalars(query.where(Upload.seen_at < before)).all()


def get(session: Session, upload_id: str, *, lock: bool = False) -> Upload:
    """The upload of this id.

    Raises:
        NotFound: there is none.
    """
    query = select(Upload).where(Upload.id == upload_id)
    found = session.scalar(query.with_for_update() if lock else query) if is_id(upload_id) else None
    if found is None:
        raise NotFound
    return found


def page(session: Session, equal: Mapping[str, str | None], query: PageQuery) -> Sequence[Upload]:
    """One more than a page of uploads, oldest first.

    Args:
        equal: column → value that it must have; None filters nothing.
    """
    rows = select(Upload).where(Upload.number > query.after)
    for name, value in equal.items():
        if value is not None:
            rows = rows.where(getattr(Upload, name) == value)
    return session.scalars(rows.order_by(Upload.number).limit(query.limit + 1)).all()


def end(session: Session, upload: Upload, state: UploadState, error: str | None, detail: str | None) -> None:
    """End an upload and its run in the session's transaction; nothing opens its file any more."""
    now = now_ms()
    upload.state, upload.error, upload.detail = state, error, detail
    upload.sealed_key, upload.finished_at = "", now
    ended = RunState.DONE if state is UploadState.PUBLISHED else RunState.FAILED
    values = {"state": ended, "detail": detail, "finished_at": now}
    session.execute(update(Run).where(Run.id == upload.run_id).values(**values))


def _of(upload_id: str) -> Update:
    """Change an upload that is not at an end."""
    return update(Upload).where(Upload.id == upload_id, Upload.state.in_(UNFINISHED))


def _changed(session: Session, change: Update) -> bool:
    """Whether a change found its row."""
    result = session.execute(change)
    return isinstance(result, CursorResult) and result.rowcount > 0
