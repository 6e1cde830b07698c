"""Runs and their files in SQL, as the API reads them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.errors import NotFound
from api.ids import is_id
from api.paging import PageQuery
from api.tables import Run, RunFile


def run(session: Session, run_id: str) -> Run:
    """The run of this id.

    Raises:
        NotFound: there is none.
    """
    found = session.scalar(select(Run).where(Run.id == run_id)) if is_id(run_id) else None
    if found is None:
        raise NotFound
    return found


def runs(session: Session, dataset_id: str | None, query: PageQuery) -> Sequence[Run]:
    """One more than a page of runs, oldest first."""
    rows = select(Run).where(Run.number > query.after).order_by(Run.number).limit(query.limit + 1)
    return session.scalars(rows.where(Run.dataset_id == dataset_id) if dataset_id else rows).all()


def files(session: Session, run_id: str) -> Sequence[RunFile]:
    """The files of a run, in the order in which they were claimed."""
    return session.scalars(select(RunFile).where(RunFile.run_id == run_id).order_by(RunFile.number)).all()
