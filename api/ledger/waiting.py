"""Records that wait to be judged, as rows: who sent them, from where, and where they wait."""

from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel, Field

from api.ledger.named import Named
from api.ledger.schemas import Moment
from api.ledger.tails import Waiting
from schemas import headers
from schemas.identity import split_position

_MAX_TEXT = 4096


class WaitingRow(BaseModel):
    """A row that is received and not judged yet; its headers are told as they came, unchecked."""

    topic: str
    partition: int
    offset: int
    waits_in_partition: int = Field(description="Another one when it was sent on to its home partition.")
    waits_at_offset: int
    organization_id: str
    dataset_id: str
    source: str
    source_ref: str
    line: int
    received_at: Moment


def waiting_row(at: int, record: Waiting) -> WaitingRow:
    """The row behind a record; `at` is the position where it was received."""
    _, partition, offset = split_position(at)
    return WaitingRow(
        topic=record.topic,
        partition=partition,
        offset=offset,
        waits_in_partition=record.partition,
        waits_at_offset=record.offset,
        organization_id=_header(record, headers.ORGANIZATION_ID),
        dataset_id=_header(record, headers.DATASET_ID),
        source=_header(record, headers.SOURCE) or "topic",
        source_ref=_header(record, headers.SOURCE_REF),
        line=_line(record) or 0,
        received_at=_received_at(record),
    )


def is_named(record: Waiting, named: Named, id_field: str) -> bool:
    """Whether a record is one of the rows named; `id_field` holds the ID in this topic's values."""
    texts = ((headers.ORGANIZATION_ID, named.organization_id), (headers.DATASET_ID, named.dataset_id))
    if any(wanted is not None and _header(record, name) != wanted for name, wanted in texts):
        return False
    if named.line is not None and _line(record) != named.line:
        return False
    if named.source is not None and not named.stands_for(_header(record, headers.SOURCE_REF)):
        return False
    return named.record_id is None or named.record_id == _id(record, id_field)


def origin_of(record: Waiting) -> int | None:
    """Position where a row that was sent on was received; None for a row that was not.

    Only workers can check its signature. Here it leads to a row; whether that is there says the ledger.
    """
    digits = record.headers.get(headers.ORIGIN, b"").partition(b":")[0]
    found = int(digits) if digits.isdigit() and len(digits) <= 20 else None
    return found if found is not None and found < 1 << 64 else None


def _header(record: Waiting, name: str) -> str:
    return record.headers.get(name, b"").decode(errors="replace")[:_MAX_TEXT]


def _line(record: Waiting) -> int | None:
    digits = record.headers.get(headers.LINE, b"")
    return int(digits) if digits.isdigit() and len(digits) <= 10 else None


def _received_at(record: Waiting) -> datetime:
    """As the sender's header says, else the broker's time."""
    try:
        moment = datetime.fromisoformat(_header(record, headers.RECEIVED_AT))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(max(record.received_ms, 0) / 1000, UTC)


def _id(record: Waiting, field: str) -> str | None:
    """The ID of a record as the ledger would tell it; None when it cannot be read."""
    try:
        value: Any = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        return None
    found = value.get(field) if isinstance(value, dict) else None
    return str(found).strip() if isinstance(found, str | int) and not isinstance(found, bool) else None
