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
from api.outbox import announced
from api.tables import Report, Run, RunFile
from producers import contracts
from producers.contracts import FINISHED_FILE_STATES, FileRecord, FileState, RunState


def text_hash(text: str) -> str:
    """SHA-256 as hex: stands in an index for a text that may be too long for one."""
    return hashlib.sha256(text.encode()).hexdigest()


class SqlRunStore:
    """One poller at a time works with it; every method is one committed transaction."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def resume(self) -> None:
        """Runs left `running` by a dead poller become `requested` again."""
        left = update(Run).where(Run.state == RunState.RUNNING).values(state=RunState.REQUESTED)
        with store_errors(), self._db.write() as session:
            session.execute(left)

    def next_requested(self) -> contracts.Run | None:
        """Take the oldest requested run; two pollers never get the same one.

        The run of a dataset that the streams cannot know yet waits for the relay.
        """
        waiting = Run.state == RunState.REQUESTED, announced(Run.dataset_id)
        query = select(Run).where(*waiting).order_by(Run.number).limit(1).with_for_update(skip_locked=True)
        with store_errors():
            with self._db.read() as session:
                if session.scalar(select(Run.id).where(*waiting).limit(1)) is None:
                    return None
            with self._db.write() as session:
                run = session.scalar(query)
                if run is None:
                    return None
                run.state, run.started_at = RunState.RUNNING, now_ms()
                return contracts.Run(run.id, run.dataset_id)

    def start_scheduled(self, dataset_id: str) -> contracts.Run:
        """Record a scheduled run that begins now."""
        now = now_ms()
        run = Run(
            id=ids.new_id(ids.RUN),
            dataset_id=dataset_id,
            trigger="schedule",
            state=RunState.RUNNING,
            created_at=now,
            started_at=now,
        )
        with store_errors(), self._db.write() as session:
            session.add(run)
        return contracts.Run(run.id, dataset_id)

    def last_scheduled(self, dataset_id: str) -> datetime | None:
        """When the latest scheduled run of the dataset began."""
        query = (
            select(Run.created_at)
            .where(Run.dataset_id == dataset_id, Run.trigger == "schedule")
            .order_by(Run.number.desc())
            .limit(1)
        )
        with store_errors(), self._db.read() as session:
            return session.scalar(query)

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
        run_id=file.run_id,
        dataset_id=file.dataset_id,
        source_ref=file.source_ref,
        state=FileState(file.state),
        claimed_at=file.claimed_at,
        destination=file.destination,
        received=file.received,
        error=file.error,
        detail=file.detail,
        content_hash=file.content_hash,
    )
