"""Receipts that the ledger alone has: requests with reads, found by the moments that their ids carry."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from api.receipts import names
from api.receipts.files import Filters
from api.receipts.taken import Place, State, Taken, of_request
from api.store import Store
from sinks import receipts
from sinks.receipts import DEVICE

FIRST_LOOK_MS: Final = 60_000
"""The newest minute is looked at first; where devices send much, that fills a page."""
_WIDER: Final = 1000
"""Where the newest minute did not fill a page there is little in hours, and then in all the rest."""
_CLOCKS: Final = timedelta(minutes=1)
"""Ids are made by several processes; the clock of one may be ahead."""


def may_be_asked_for(filters: Filters) -> bool:
    """Whether requests of devices can be among what is asked for: they have no dataset, all are published."""
    receipt = filters.source_ref is None or names.is_receipt(filters.source_ref)
    published = filters.state in (None, State.PUBLISHED)
    return receipt and published and filters.dataset_id is None and filters.source in (None, DEVICE)


def page(store: Store, filters: Filters, before: Place | None, limit: int, topic: str) -> list[Taken]:
    """At most `limit` receipts, newest first, those before a place (blocks).

    Args:
        filters: with `since` and `until`, or a `source_ref`.
        topic: full name of the topic of reads.

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    found: list[tuple[str, str]] = []
    for first, end in _stretches(filters, before):
        left = limit - len(found)
        if not left:
            break
        asked = topic, names.FORM, first, end, filters.organization_id, left
        found += store.ask(receipts.requests, *asked)
    return [of_request(ref, owner, topic) for ref, owner in found]


def one(store: Store, receipt: str, topic: str) -> Taken:
    """The receipt of a request; without an organisation when none of its rows is judged (blocks).

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    found = store.ask(receipts.requests, topic, names.FORM, receipt, f"{receipt}!", None, 1)
    return of_request(receipt, found[0][1] if found else None, topic)


def _stretches(filters: Filters, before: Place | None) -> Iterator[tuple[str, str]]:
    """Ranges of references, the newest first, each longer than the one before; where little was sent, few."""
    end = _end(filters, before)
    if (ref := filters.source_ref) is not None:
        in_time = (filters.since is None or names.moment_of(ref) >= filters.since) and ref < end
        yield from [(ref, f"{ref}!")] if in_time else []
        return
    first = names.lowest(names.to_ms(filters.since)) if filters.since else names.lowest(0)
    length = FIRST_LOOK_MS
    while first < end:
        begin = max(first, names.lowest(names.ms_of(end) - length))
        yield begin, end
        end, length = begin, length * _WIDER


def _end(filters: Filters, before: Place | None) -> str:
    """The reference after the greatest one asked for."""
    ends = [names.lowest(names.to_ms(filters.until or datetime.now(UTC) + _CLOCKS))]
    if before is not None:
        ms, receipt = before
        # ids of other kinds may sort on either side of the receipts of their millisecond
        ends.append(min(max(receipt, names.lowest(ms)), names.lowest(ms + 1)))
    return min(ends)
