"""Many refused rows in one request: selected in order, acted on in pieces, gone on with by a cursor.

Every piece is a whole act of the desk, so a request that is cut off has done its pieces or not begun them,
and sending it again goes on with what is still open. A walk along `next` means the rows that were stored
when it began: replays that are refused again lie behind the cursor, and it would go round with them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from api.errors import Invalid
from api.quarantine.cursors import decode_walk, encode
from api.quarantine.desk import Desk, Done
from api.quarantine.schemas import BulkIn, BulkOut, SkippedOut
from api.store import Store
from sinks import quarantine
from sinks.chunks import chunks
from sinks.quarantine import Place, RefusedRow

AT_ONCE: Final = 100
"""Rows of one piece: their originals are in memory together."""

Act = Callable[[Sequence[RefusedRow]], Done]
"""What is done with the rows of a piece, which are of one topic."""


def run(store: Store, desk: Desk, body: BulkIn, act: Act, *, waiting: bool) -> BulkOut:
    """Act on the open rows that a request means, in order of topic and position.

    Args:
        waiting: whether rows that replay themselves when an object is registered are meant too.

    Raises:
        Invalid: no filter.
        BadCursor: the cursor is not ours.
        StoreAway, BrokerAway: rows before this piece are done; the same request goes on.
    """
    filters = body.filters()
    if not filters:
        raise Invalid.field("reason", "missing", "Name at least one filter.")
    after, until_ms = decode_walk(body.cursor) if body.cursor else (None, store.ask(quarantine.server_ms))
    filters |= {"state": "open", "stored_until_ms": until_ms}
    waits = store.ask(quarantine.count, {**filters, "waits": True})
    if not waiting:
        filters["waits"] = False
    matched = store.ask(quarantine.count, filters)
    out = BulkOut(
        dry_run=body.dry_run, matched=matched, waiting=0 if waiting else waits, done=0, skipped=[], next=None
    )
    if body.dry_run:
        return out
    found = store.ask(quarantine.places, filters, body.limit + 1, after)
    for rows in _pieces(desk, found[: body.limit]):
        _add(out, act(rows))
    out.next = encode(found[body.limit - 1], until_ms) if len(found) > body.limit else None
    return out


def _pieces(desk: Desk, places: Sequence[Place]) -> Iterator[list[RefusedRow]]:
    for topic, members in groupby(places, key=lambda place: place[0]):
        for positions in chunks((position for _, position in members), AT_ONCE):
            yield desk.rows(topic, positions)


def _add(out: BulkOut, done: Done) -> None:
    out.done += len(done.places)
    out.skipped += [
        SkippedOut(topic=topic, position=str(at), code=why.code) for (topic, at), why in done.skipped.items()
    ]


def only(done: Done) -> Done:
    """The result for a single row.

    Raises:
        CannotAct: it was skipped for this.
    """
    for why in done.skipped.values():
        raise why
    return done


def given(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that are not None."""
    return {name: value for name, value in filters.items() if value is not None}
