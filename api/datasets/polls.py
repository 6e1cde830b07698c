"""The record of runs as one poller uses it (`producers.contracts.PollStore`): leases and fences over SQL.

A dataset has one row in `dataset_polls`. Who holds it stands there, so each write of a poller is checked
and made in one transaction: a poller that was stopped and came back too late writes nothing.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api import ids
from api.datasets.runs import SqlRunStore
from api.datasets.source import store_errors
from api.db import Database, now_ms
from api.outbox import announced
from api.tables import DatasetPoll, Run
from producers import contracts
from producers.contracts import LeaseLost, Polls, RunState

TRIGGERS = ("demand", "schedule")
"""Whose runs are the pollers'; an upload is none."""
_AT_ONCE = 50
"""Runs that are tried for at once; a few of them may be taken by others meanwhile."""


class SqlPollStore(SqlRunStore):
    """The record for one poller. Clocks of pollers may differ by less than a lease lasts.

    A lease lost all the same costs work, not truth: what its former holder still tries to record is
    refused, and what it published is published again under the same `source_ref` and lines.
    """

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self._holder = secrets.token_hex(16)

    def next_requested(self, lasts_s: float) -> contracts.Run | None:
        """Take the oldest run that is asked for or was left by a dead poller, and hold its dataset.

        The run of a dataset that the streams cannot know yet waits for the relay.
        """
        waiting = (
            Run.state.in_((RunState.REQUESTED, RunState.RUNNING)),
            Run.trigger.in_(TRIGGERS),
            or_(DatasetPoll.dataset_id.is_(None), self._free()),
            announced(Run.dataset_id),
        )
        query = (
            select(Run.id, Run.dataset_id)
            .outerjoin(DatasetPoll, DatasetPoll.dataset_id == Run.dataset_id)
            .where(*waiting)
            .order_by(Run.number)
            .limit(_AT_ONCE)
        )
        with store_errors():
            with self._db.read() as session:
                found = session.execute(query).all()
            for run_id, dataset_id in found:
                if taken := self._take(run_id, dataset_id, lasts_s):
                    return taken
        return None

    def _take(self, run_id: str, dataset_id: str, lasts_s: float) -> contracts.Run | None:
        """The run, if it is still to be taken now that its dataset is held."""
        with self._db.write() as session:
            poll = self._hold(session, dataset_id, lasts_s)
            if poll is None:
                return None
            run = session.scalars(select(Run).where(Run.id == run_id).with_for_update()).one()
            if run.state not in (RunState.REQUESTED, RunState.RUNNING):
                _let_go(poll)
                return None
            run.state, run.started_at = RunState.RUNNING, now_ms()
            return contracts.Run(run.id, dataset_id, poll.failures)

    def start_scheduled(
        self, dataset_id: str, before: datetime | None, lasts_s: float
    ) -> contracts.Run | None:
        """Record a scheduled run that begins now, unless one began after `before`, or one is asked for."""
        with store_errors(), self._db.write() as session:
            poll = self._hold(session, dataset_id, lasts_s)
            if poll is None:
                return None
            if poll.scheduled_at != before or _is_asked_for(session, dataset_id):
                _let_go(poll)
                return None
            poll.scheduled_at = now = now_ms()
            run = Run(
                id=ids.new_id(ids.RUN),
                dataset_id=dataset_id,
                trigger="schedule",
                state=RunState.RUNNING,
                created_at=now,
                started_at=now,
            )
            session.add(run)
            return contracts.Run(run.id, dataset_id, poll.failures)

    def renew(self, dataset_id: str, lasts_s: float) -> bool:
        """Hold the dataset from now on again; False when it is somebody else's, or nobody's."""
        with store_errors(), self._db.write() as session:
            poll = _row(session, dataset_id)
            if poll is None or poll.holder != self._holder:
                return False
            poll.held_until = now_ms() + timedelta(seconds=lasts_s)
            return True

    def give_back(self, run: contracts.Run) -> None:
        """Let another poller go on with the run; nothing if it is not ours any more."""
        with store_errors(), self._db.write() as session:
            poll = _row(session, run.dataset_id)
            if poll is not None and poll.holder == self._holder:
                self._run(session, run.id).state = RunState.REQUESTED
                _let_go(poll)

    def finish(self, run_id: str, state: RunState, detail: str | None = None) -> None:
        """End a run, count it if it failed, and let go of its dataset."""
        with store_errors(), self._db.write() as session:
            run = self._run(session, run_id)
            poll = self._held(session, run.dataset_id)
            run.state, run.detail, run.finished_at = state, detail, now_ms()
            poll.failures = poll.failures + 1 if state is RunState.FAILED else 0
            poll.failed_at = run.finished_at if state is RunState.FAILED else None
            _let_go(poll)

    def polls(self) -> Mapping[str, Polls]:
        """What is remembered of every dataset."""
        now = now_ms()
        with store_errors(), self._db.read() as session:
            return {
                poll.dataset_id: Polls(
                    poll.scheduled_at,
                    poll.failures,
                    poll.failed_at,
                    poll.held_until is not None and poll.held_until > now,
                )
                for poll in session.scalars(select(DatasetPoll))
            }

    def _free(self) -> ColumnElement[bool]:
        """Condition: nobody holds the dataset."""
        return or_(DatasetPoll.held_until.is_(None), DatasetPoll.held_until <= now_ms())

    def _hold(self, session: Session, dataset_id: str, lasts_s: float) -> DatasetPoll | None:
        """The dataset's row, held by us; None while another poller holds it."""
        now = now_ms()
        poll = _row(session, dataset_id) or _new_row(session, dataset_id)
        if poll is None or (poll.held_until is not None and poll.held_until > now):
            return None
        poll.holder, poll.held_until = self._holder, now + timedelta(seconds=lasts_s)
        return poll

    def _held(self, session: Session, dataset_id: str | None) -> DatasetPoll:
        """The dataset's row, locked.

        Raises:
            LeaseLost: it is not held by us.
        """
        poll = _row(session, dataset_id)
        if poll is None or poll.holder != self._holder:
            raise LeaseLost(str(dataset_id))
        return poll

    def _fence(self, session: Session, dataset_id: str | None) -> None:
        self._held(session, dataset_id)

    @staticmethod
    def _run(session: Session, run_id: str) -> Run:
        return session.scalars(select(Run).where(Run.id == run_id)).one()


def _row(session: Session, dataset_id: str | None) -> DatasetPoll | None:
    """The dataset's row, locked until the transaction ends."""
    query = select(DatasetPoll).where(DatasetPoll.dataset_id == dataset_id)
    return session.scalar(query.with_for_update())


def _new_row(session: Session, dataset_id: str) -> DatasetPoll | None:
    """The row of a dataset that was never looked at; None when another poller makes it just now."""
    poll = DatasetPoll(dataset_id=dataset_id, failures=0)
    try:
        with session.begin_nested():
            session.add(poll)
    except IntegrityError:
        return None
    return poll


def _is_asked_for(session: Session, dataset_id: str) -> bool:
    """Whether a run waits that somebody asked for: who asked finds the files in his run."""
    query = select(Run.id).where(Run.dataset_id == dataset_id, Run.state == RunState.REQUESTED)
    return session.scalar(query.limit(1)) is not None


def _let_go(poll: DatasetPoll) -> None:
    poll.holder = poll.held_until = None
