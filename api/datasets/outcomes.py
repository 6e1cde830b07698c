"""A run with what has become of its rows: the receipts of its files, added up."""

from typing import Final

from api.datasets import repository
from api.datasets.schemas import RunFileOut, RunOut, RunSummary
from api.deps import Running
from api.receipts import service
from api.tables import Run, RunFile
from producers.contracts import RunState
from sinks.receipts import OUTCOMES

_ADDED: Final = ("received", *OUTCOMES, "lost")


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
    receipts = {receipt.id: receipt for receipt in service.of_run(app, run.id)}
    state = run.state
    # A reading that broke off may have brought more than is on record; a run waits for what is known.
    if state == RunState.DONE and any(receipt.waiting for receipt in receipts.values()):
        state = "storing"
    return RunOut(
        **summary(run).model_dump(exclude={"state"}),
        state=state,
        files=[_file_out(file, receipts[file.id].received) for file in files if file.id in receipts],
        **{name: sum(getattr(receipt, name) for receipt in receipts.values()) for name in _ADDED},
    )


def _file_out(file: RunFile, received: int) -> RunFileOut:
    return RunFileOut.model_validate(file, from_attributes=True).model_copy(update={"received": received})
