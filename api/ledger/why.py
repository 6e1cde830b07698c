"""What became of the rows named: those in the ledger, and those still on their way."""

from collections.abc import Sequence
from typing import Any

from api.deps import Running
from api.ledger.explain import explain
from api.ledger.named import Named
from api.ledger.pages import LedgerRow
from api.ledger.underway import OnTheWay, Underway
from api.store import Store
from schemas.topics import PAYMENTS, READS
from sinks import queries, why

Rows = list[dict[str, Any]]


def ask(
    app: Running,
    named: Named,
    filters: dict[str, Any],
    limit: int,
    after: tuple[str, int, str] | None,
    explained: bool | None,
) -> tuple[Rows, OnTheWay | None]:
    """Rows of the ledger and, with the first page of rows that are named, what waits to be judged.

    What waits is looked at before the ledger: a row that is judged in between is in the ledger.

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    on_the_way, origin = None, None
    if named.rows and after is None and explained is not False:
        prefix = app.parts.settings.topic_prefix
        topics = PAYMENTS.full_name(prefix), READS.full_name(prefix)
        on_the_way, origin = Underway(app.store, app.parts.tails, *topics).look(named)
    if named.source is not None and not named.exact:
        conditions = {name: filters[name] for name in ("organization_id", "dataset_id", "line")}
        filters = {**filters, "source_refs": app.store.ask(why.sources_named, named.source, conditions)}
        if not filters["source_refs"]:
            return [], on_the_way
    rows: Rows = app.store.ask(queries.ledger, filters, limit, after)
    if not rows and origin is not None:
        # The place holds a copy that was sent on; its row stands under the place where it was received.
        elsewhere = {"topic": named.topic, "position": origin, "organization_id": named.organization_id}
        rows = app.store.ask(queries.ledger, elsewhere, limit)
    return rows, on_the_way


def told(store: Store, rows: Sequence[dict[str, Any]], explained: bool) -> list[LedgerRow]:
    """Ledger rows as they are answered, each with its explanation if that is wanted.

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    found = [LedgerRow.model_validate(row) for row in rows]
    for row, explanation in zip(found, explain(store, rows) if explained else (), strict=False):
        row.explanation = explanation
    return found
