"""Runs checks: the rows of a dataset's source, or of an upload, judged without anything being sent."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from threading import BoundedSemaphore
from typing import Final

from api.checks.ledger import LedgerCheck
from api.checks.schemas import CheckOut, check_out
from api.deps import Running
from api.errors import TooManyRequests
from api.models import Dataset, Project
from producers.dry_rows import Terms
from producers.dry_run import DryRun
from producers.errors import FileRefused
from producers.table_rows import Remark, Row, UnreadableRow
from schemas.fields import SOURCE_PROFILES
from schemas.payments import PaymentContext
from schemas.personal import Pseudonymizer

ROWS_AT_ONCE: Final = 10_000
"""Rows that ClickHouse is asked about together."""
CHARS_AT_ONCE: Final = 20_000_000
"""Characters of rows that are held for such a question."""
AT_ONCE: Final = 2
"""Most checks at a time: each keeps a processor busy, and devices wait for the same process."""
slots: Final = BoundedSemaphore(AT_ONCE)

Batches = Iterable[Sequence[Row]]


def terms_of(dataset: Dataset) -> Terms:
    """What the streams know of the dataset, as its message in the registry's topic tells it."""
    context = PaymentContext(
        SOURCE_PROFILES[dataset.source], dataset.default_currency, frozenset(dataset.required_fields or ())
    )
    return Terms(context, dataset.organization_id, dataset.id_namespace or "", dataset.conflict_rule)


def check_rows(
    app: Running, dataset: Dataset, batches: Batches, file: str = "", warnings: Sequence[Remark] = ()
) -> CheckOut:
    """Judge rows as if they came through the dataset now. Blocks: for worker threads.

    A file-level error, raised while the first rows are read, is part of the answer.

    Args:
        dataset: need not be stored: only its settings are looked at.
        batches: rows in the order of the file; its iterator may raise `FileRefused`.
        file: how the answer names it.
        warnings: what its reader leaves out; looked at when all rows were read.

    Raises:
        StoreAway: SQL or ClickHouse does not answer.
        TooManyRequests: `AT_ONCE` checks are under way.
    """
    if not slots.acquire(blocking=False):
        raise TooManyRequests("Other checks are under way; try again.", headers={"Retry-After": "10"})
    try:
        return _check(app, dataset, batches, file, warnings)
    finally:
        slots.release()


def _check(
    app: Running, dataset: Dataset, batches: Batches, file: str, warnings: Sequence[Remark]
) -> CheckOut:
    terms, settings = terms_of(dataset), app.parts.settings
    pseudonymizer = Pseudonymizer(settings.pseudonym_secret, settings.pseudonym_profile)
    with ExitStack() as stack:
        run = stack.enter_context(DryRun(file, terms, pseudonymizer))
        ledger = LedgerCheck(app.store, terms, _scope(app, dataset))
        stack.callback(ledger.close)
        try:
            for rows in _regrouped(batches):
                valid = run.feed(rows)
                ledger.feed(valid, len(rows) - len(valid))
        except FileRefused as refusal:
            run.refuse(refusal)
        run.report.warnings += warnings
    return check_out(run.report, ledger.report)


def _regrouped(batches: Batches) -> Iterator[list[Row]]:
    """The same rows in larger lists: each costs some questions. Rows of much text come in shorter ones."""
    waiting: list[Row] = []
    chars = 0
    for rows in batches:
        waiting += rows
        chars += sum(map(_chars, rows))
        if len(waiting) >= ROWS_AT_ONCE or chars >= CHARS_AT_ONCE:
            yield waiting
            waiting, chars = [], 0
    if waiting:
        yield waiting


def _chars(row: Row) -> int:
    """About how much text a row holds."""
    return (
        len(row.raw) if isinstance(row, UnreadableRow) else sum(len(str(cell)) for cell in row.cells.values())
    )


def _scope(app: Running, dataset: Dataset) -> Callable[[str], bool]:
    """Whether the dataset's payments may match connections of a project (view `dataset_scopes`)."""
    if dataset.target != "programme":
        return frozenset(dataset.project_ids).__contains__
    programme_id = dataset.programme_id
    with app.db.read() as session:
        projects = session.query(Project).filter(Project.organization_id == dataset.organization_id).all()
    enrolled = {project.id for project in projects if programme_id in project.programme_ids}
    return frozenset(enrolled).__contains__
