"""How a receipt adds up: what was published, what is judged, and what is known of the rest."""

from datetime import timedelta
from typing import Final, NamedTuple

from api.receipts.reached import Reached
from api.receipts.schemas import AddsUp, Outcomes, PlaceOut, ReceiptOut
from api.receipts.taken import State, Taken
from sinks.receipts import DEVICE, Tally

NOTHING: Final = Tally()


class Sum(NamedTuple):
    """`received` rows, of which `waiting` or `lost` have no outcome."""

    adds_up: AddsUp
    received: int
    waiting: int = 0
    lost: int = 0


def summed(taken: Taken, judged: int, reached: Reached) -> Sum:
    """The arithmetic of one receipt (may ask broker and ClickHouse, if rows are missing).

    More rows judged than recorded is no contradiction: a reading that was killed had published them.

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    received = max(taken.recorded or 0, judged)
    missing = received - judged
    if taken.state is State.READING:
        return Sum("storing", received, waiting=missing)
    if taken.is_all and not missing:
        return Sum("complete", received)
    passed = reached.passed(taken.topic, taken.started_at, taken.closed_at)
    if passed is None:
        return Sum("storing", received, waiting=missing)
    if not missing:
        return Sum("complete", received)
    if taken.source == DEVICE and not passed.lost:
        # nothing was lost, so the rest never came: its sender was answered 503 and does not know the receipt
        return Sum("complete", judged)
    return Sum("lost", received, lost=missing)


def receipt_out(taken: Taken, tally: Tally, total: Sum) -> ReceiptOut:
    """A receipt as it is told."""
    return ReceiptOut(
        id=taken.id,
        organization_id=taken.organization_id,
        dataset_id=taken.dataset_id,
        run_id=taken.run_id,
        source=taken.source,
        source_ref=taken.source_ref,
        state=taken.state,
        **total._asdict(),
        **tally.current,
        first_outcomes=Outcomes(**tally.first),
        reasons=dict(tally.reasons),
        places=[
            PlaceOut(
                topic=place.topic,
                partition=place.partition,
                first_offset=place.first_offset,
                last_offset=place.last_offset,
            )
            for place in tally.places
        ],
        content_hash=taken.content_hash,
        started_at=taken.started_at,
        finished_at=taken.finished_at,
        stored_at=tally.stored_at,
        duration_ms=_duration_ms(taken, tally) if total.adds_up != "storing" else None,
        destination=taken.destination,
        error=taken.error,
        detail=taken.detail,
    )


def _duration_ms(taken: Taken, tally: Tally) -> int | None:
    """None when no end is on record; two clocks may make it nothing, never less."""
    ends = [moment for moment in (taken.finished_at, tally.stored_at) if moment is not None]
    return max((max(ends) - taken.started_at) // timedelta(milliseconds=1), 0) if ends else None
