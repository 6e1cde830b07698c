"""A run with what has become of its rows: the receipts of its files, asked from the ledger."""

from collections.abc import Sequence

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
        dataset = session.get_one(Dataset, run.dataset_id)
    received = sum(file.received for file in files)
    counts = _counts(app, dataset, files) if received else dict.fromkeys(_OUTCOMES, 0)
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


def _counts(app: Running, dataset: Dataset, files: Sequence[RunFile]) -> dict[str, int]:
    refs = [file.source_ref for file in files if file.received]
    counts = app.store.ask(queries.outcome_counts, dataset.organization_id, dataset.id, refs)
    return {outcome: counts[outcome] for outcome in _OUTCOMES}
