"""Receipts: what SQL and the ledger know of files and requests, put together so that it adds up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api.deps import Running
from api.errors import NotFound
from api.ids import is_id
from api.receipts import files, names, requests
from api.receipts.adding import NOTHING, receipt_out, summed
from api.receipts.files import Filters
from api.receipts.reached import MARGIN, Reached
from api.receipts.readers import Reader
from api.receipts.schemas import AddsUp, Outcomed, ReceiptOut
from api.receipts.taken import Place, Taken
from schemas.topics import PAYMENTS, READS
from sinks.receipts import DEVICE, tallies

MOST_LOOKED_AT: Final = 2000
"""Receipts that one request looks at for those with a certain outcome or sum."""
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the ledger has to say of a receipt for it to be listed; None means any."""

    outcome: Outcomed | None = None
    adds_up: AddsUp | None = None

    @property
    def is_any(self) -> bool:
        """Whether every receipt is wanted."""
        return self.outcome is None and self.adds_up is None

    def __contains__(self, receipt: ReceiptOut) -> bool:
        has_outcome = self.outcome is None or getattr(receipt, self.outcome) > 0
        return has_outcome and self.adds_up in (None, receipt.adds_up)


def told(app: Running, found: Sequence[Taken]) -> list[ReceiptOut]:
    """Receipts with what became of their rows, in the order given (blocks; asks nobody if there are none).

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    keys = [taken.key for taken in found if taken.may_have_rows]
    counted = app.store.ask(tallies, keys) if keys else {}
    reached = Reached(app.store, app.parts.tails)
    latest_first = sorted(found, key=lambda taken: taken.closed_at or taken.started_at, reverse=True)
    sums = {
        taken.id: summed(taken, counted.get(taken.key, NOTHING).judged, reached) for taken in latest_first
    }
    return [receipt_out(taken, counted.get(taken.key, NOTHING), sums[taken.id]) for taken in found]


def of_run(app: Running, run_id: str) -> list[ReceiptOut]:
    """The receipts of a run (blocks); errors as of `told`."""
    with app.db.read() as session:
        found = files.of_run(session, run_id, _payments(app))
    return told(app, found)


def one(app: Running, receipt: str, reader: Reader) -> ReceiptOut:
    """The receipt of this id (blocks).

    Raises:
        NotFound: there is none, or none for this reader.
        StoreAway: ClickHouse does not answer.
    """
    is_request = names.is_receipt(receipt)
    if not is_request and not is_id(receipt):
        raise NotFound
    with app.db.read() as session:
        taken = files.one(session, receipt, _payments(app))
    if taken is None and is_request and names.moment_of(receipt) < datetime.now(UTC) + MARGIN:
        taken = requests.one(app.store, receipt, _reads(app))
    if taken is None or not reader.may_see(taken.organization_id):
        raise NotFound
    (out,) = told(app, [taken])
    if taken.source == DEVICE and not out.received:
        raise NotFound  # nothing of it ever came, or an older receipt that does not say what should
    return out


def page(
    app: Running, filters: Filters, wanted: Wanted, before: Place | None, limit: int
) -> tuple[list[ReceiptOut], Place | None]:
    """A page of receipts, newest first, and where it ended unless it is the last one (blocks).

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    items: list[ReceiptOut] = []
    looked_at = 0
    at_once = limit if wanted.is_any else _AT_ONCE
    while True:
        found = _candidates(app, filters, before, at_once + 1)
        some, is_last = found[:at_once], len(found) <= at_once
        for taken, receipt in zip(some, told(app, some), strict=True):
            if receipt in wanted:
                if len(items) == limit:
                    return items, before
                items.append(receipt)
            before = taken.place
        looked_at += len(some)
        if is_last:
            return items, None
        if len(items) == limit or looked_at >= MOST_LOOKED_AT:
            return items, before


def _candidates(app: Running, filters: Filters, before: Place | None, limit: int) -> list[Taken]:
    """Receipts of both kinds, newest first."""
    found: list[Taken] = []
    if filters.source != DEVICE:
        with app.db.read() as session:
            found += files.page(session, filters, before, limit, _payments(app))
    if requests.may_be_asked_for(filters):
        found += requests.page(app.store, filters, before, limit, _reads(app))
    return sorted(found, key=lambda taken: taken.place, reverse=True)[:limit]


def _payments(app: Running) -> str:
    return PAYMENTS.full_name(app.parts.settings.topic_prefix)


def _reads(app: Running) -> str:
    return READS.full_name(app.parts.settings.topic_prefix)
