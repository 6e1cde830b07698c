"""A run with what has become of its rows: the receipts of its files, asked from the ledger."""

from collections.abc import Sequence

from sqlalchemy import select

from api.datasets import repository
from api.datasets.schemas import RunFileOut, RunOut, RunSummary
from api.deps import Running
from api.models import Dataset
from api.tables import Run, RunFile
from producers.contracts import RunState
from sinks import queries


def summary(run: Run) -> RunSummary:
    """A run as SQL knows it."""
    return RunSummary.model_validate(run)


def run_out(app: Running, run: Run) -> RunOut:
    """A run with its files and counts (blocks: asks SQL and, if it received rows, ClickHouse).

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    with app.db.read() as session:
        files = repository.files(session, run.id)
        owner = session.scalars(select(Dataset.organization_id).where(Dataset.id == run.dataset_id)).one()
    received = sum(file.received for file in files)
    counts = _counts(app, owner, run, files) if received else dict.fromkeys(_OUTCOMES, 0)
    state = run.state
    if state == RunState.DONE and received != sum(counts.values()):
        state = "storing"
    return RunOut(
        **summary(run).model_dump(exclude={"state"}),
        state=state,
        received=received,
        files=[RunFileOut.model_validate(file, from_attributes=True) for file in files],
        **counts,
    )


_OUTCOMES = ("accepted", "duplicate", "conflict", "quarantined")


def _counts(app: Running, organization_id: str, run: Run, files: Sequence[RunFile]) -> dict[str, int]:
    refs = [file.source_ref for file in files if file.received]
    counts = app.store.ask(queries.outcome_counts, organization_id, run.dataset_id, refs)
    return {outcome: counts[outcome] for outcome in _OUTCOMES}
