"""The durable record of runs and files (`producers.contracts.RunStore`) over SQL."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api import ids
from api.datasets.source import store_errors
from api.db import Database, now_ms
from api.tables import Report, Run, RunFile
from producers.contracts import FINISHED_FILE_STATES, FileRecord, FileState, RunState


def text_hash(text: str) -> str:
    """SHA-256 as hex: stands in an index for a text that may be too long for one."""
    return hashlib.sha256(text.encode()).hexdigest()


class SqlRunStore:
    """Every method is one committed transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _fence(self, session: Session, dataset_id: str | None) -> None:
        """Asked in each transaction that writes of a dataset's file; raises to prevent it."""

    def finish(self, run_id: str, state: RunState, detail: str | None = None) -> None:
        """End a run."""
        values = {"state": state, "detail": detail, "finished_at": now_ms()}
        with store_errors(), self._db.write() as session:
            session.execute(update(Run).where(Run.id == run_id).values(**values))

    def claim(self, run_id: str, dataset_id: str, source: str, source_ref: str) -> FileRecord:
        """The file's record, new or found; an unfinished one is joined to the run."""
        with store_errors():
            try:
                with self._db.write() as session:
                    return self._claim(session, run_id, dataset_id, source, source_ref)
            except IntegrityError:  # claimed by another poller since we looked
                with self._db.write() as session:
                    return self._claim(session, run_id, dataset_id, source, source_ref)

    def _claim(
        self, session: Session, run_id: str, dataset_id: str, source: str, source_ref: str
    ) -> FileRecord:
        self._fence(session, dataset_id)
        key = text_hash(source_ref)
        query = select(RunFile).where(RunFile.dataset_id == dataset_id, RunFile.ref_hash == key)
        file = session.scalar(query.with_for_update())
        if file is None:
            file = RunFile(
                id=ids.new_id("fil"),
                run_id=run_id,
                dataset_id=dataset_id,
                source=source,
                source_ref=source_ref,
                ref_hash=key,
                state=FileState.CLAIMED,
                claimed_at=now_ms(),
                received=0,
            )
            session.add(file)
        elif file.state not in FINISHED_FILE_STATES:
            file.run_id = run_id
        session.flush()
        return _record(file)

    def advance(
        self,
        file_id: str,
        state: FileState,
        *,
        destination: str | None = None,
        received: int | None = None,
        error: str | None = None,
        detail: str | None = None,
        content_hash: str | None = None,
    ) -> FileRecord:
        """Record a step; None leaves a value as it is."""
        given = {
            "state": state,
            "destination": destination,
            "received": received,
            "error": error,
            "detail": detail,
            "content_hash": content_hash,
            "finished_at": now_ms() if state in FINISHED_FILE_STATES else None,
        }
        with store_errors(), self._db.write() as session:
            file = session.scalars(select(RunFile).where(RunFile.id == file_id).with_for_update()).one()
            self._fence(session, file.dataset_id)
            for name, value in given.items():
                if value is not None:
                    setattr(file, name, value)
            return _record(file)

    def unfinished(self, dataset_id: str) -> Sequence[FileRecord]:
        """Files of the dataset still on their way, oldest first."""
        query = (
            select(RunFile)
            .where(RunFile.dataset_id == dataset_id, RunFile.state.not_in(FINISHED_FILE_STATES))
            .order_by(RunFile.number)
        )
        with store_errors(), self._db.read() as session:
            return [_record(file) for file in session.scalars(query)]

    def taken(self, dataset_id: str, source: str) -> Sequence[tuple[str, datetime]]:
        """Files of a channel that were taken in: what they are, and when they were claimed."""
        query = select(RunFile.source_ref, RunFile.claimed_at).where(
            RunFile.dataset_id == dataset_id,
            RunFile.source == source,
            RunFile.state == FileState.DONE,
            RunFile.error.is_(None),
        )
        with store_errors(), self._db.read() as session:
            return [(ref, claimed_at) for ref, claimed_at in session.execute(query)]

    def report_once(self, dataset_id: str, what: str) -> bool:
        """True the first time this is reported for the dataset."""
        key = text_hash(what)
        known = select(Report.number).where(Report.dataset_id == dataset_id, Report.what_hash == key)
        with store_errors(), self._db.read() as session:
            if session.scalar(known) is not None:
                return False
        try:
            with store_errors(), self._db.write() as session:
                session.add(Report(dataset_id=dataset_id, what=what, what_hash=key))
        except IntegrityError:
            return False
        return True


def _record(file: RunFile) -> FileRecord:
    return FileRecord(
        id=file.id,
        run_id=file.run_id or "",
        dataset_id=file.dataset_id or "",
        source_ref=file.source_ref,
        state=FileState(file.state),
        claimed_at=file.claimed_at,
        destination=file.destination,
        received=file.received,
        error=file.error,
        detail=file.detail,
        content_hash=file.content_hash,
    )
