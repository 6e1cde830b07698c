"""From a device's request to records of the topic `reads`: every item becomes one, good or bad."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from api.db import iso_ms
from api.errors import BodyTooLarge, Invalid, MalformedBody
from api.problems import field_problems
from api.reads.repository import KnownDevice
from api.reads.schemas import RejectedRead
from api.repeated import refuse_repeated
from producers.publisher import Record
from schemas import headers
from schemas.faults import SENTENCES
from schemas.identity import read_key
from schemas.json_members import NumberText, all_members, may_repeat, members, repeated_member
from schemas.outcomes import Code
from schemas.read_requests import MeterReadsRequest, ReadFault, judge

MOST_FAULTS: Final = 1000
"""Faults of a request as a whole that are still told one by one; to list a million takes seconds."""
MAX_RECORD: Final = 64 * 1024
"""Bytes of one read; a longer one is cut and recorded as unreadable."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as records, and what its sender is told."""

    records: list[Record]
    rejected: list[RejectedRead]


def parse(body: bytes, max_reads: int) -> MeterReadsRequest:
    """The request in a body.

    Raises:
        MalformedBody: not JSON.
        Invalid: a field of the request as a whole breaks a rule, or stands in it twice.
        BodyTooLarge: more reads than one request may have.
    """
    try:
        request = MeterReadsRequest.model_validate_json(body)
    except ValidationError as error:
        if error.error_count() > MOST_FAULTS:
            raise Invalid from None
        faults = error.errors(include_url=False, include_input=False)
        kinds = {fault["type"] for fault in faults}
        if "json_invalid" in kinds:
            raise MalformedBody from None
        if any(fault["type"] == "too_long" and fault["loc"] == ("reads",) for fault in faults):
            raise _too_many(max_reads) from None
        raise Invalid(errors=field_problems(faults)) from None
    if len(request.reads) > max_reads:
        raise _too_many(max_reads)
    if may_repeat(body, request.reads, len(request.model_fields_set)):
        _mark_repeated(request, body)
    return request


def _mark_repeated(request: MeterReadsRequest, body: bytes) -> None:
    """Put reads that have a member twice in place of what was read of them.

    Raises:
        Invalid: a member of the request itself stands in it twice.
    """
    again = json.loads(body.decode(), object_pairs_hook=members, parse_int=NumberText)
    refuse_repeated(again)
    for index, read in enumerate(again["reads"]):
        if repeated_member(read) is not None:
            request.reads[index] = read


def _too_many(max_reads: int) -> BodyTooLarge:
    return BodyTooLarge(f"One request takes at most {max_reads} reads; send several requests.")


def prepare(
    request: MeterReadsRequest, device: KnownDevice, topic: str, receipt: str, received_at: datetime
) -> Prepared:
    """Judge the request as the streams will, and make a record of every item (CPU only)."""
    judged = judge(request, device.external_id, int(time.time() * 1000))
    rejected = _by_index(judged.rejected)
    key = read_key(device.organization_id, device.external_id).encode()
    shared = (
        (headers.ORGANIZATION_ID, device.organization_id.encode()),
        (headers.SOURCE, b"device"),
        (headers.SOURCE_REF, receipt.encode()),
        (headers.RECEIVED_AT, iso_ms(received_at).encode()),
    )
    records = []
    for index, (item, row) in enumerate(zip(request.reads, judged.rows, strict=True)):
        value, unreadable = _value(item, row)
        given = [*shared, (headers.LINE, str(index + 1).encode())]
        if unreadable:
            given.append((headers.UNREADABLE, unreadable.encode()))
        if unreadable == Code.TOO_LARGE:
            rejected[index] = RejectedRead(index=index, code=unreadable, detail=SENTENCES[unreadable])
        records.append(Record(topic=topic, key=key, value=value, headers=given))
    return Prepared(records, [rejected[index] for index in sorted(rejected)])


def _value(item: Any, row: dict[str, Any]) -> tuple[bytes, Code | None]:
    """The record's value, and why a reader could not parse the item: then it is the item as it came."""
    if not isinstance(item, dict):
        return _json(item)[:MAX_RECORD], Code.NOT_OBJECT
    if repeated_member(item) is not None:
        return all_members(item).encode(errors="replace")[:MAX_RECORD], Code.REPEATED_MEMBER
    value = _json(row)
    return (value, None) if len(value) <= MAX_RECORD else (value[:MAX_RECORD], Code.TOO_LARGE)


def _json(value: Any) -> bytes:
    # Not orjson: it would turn NaN into null, and refuse long integers; both must end in quarantine as sent.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _by_index(faults: Iterable[ReadFault]) -> dict[int, RejectedRead]:
    """One entry per rejected item: its first code, all details."""
    found: dict[int, RejectedRead] = {}
    for fault in faults:
        known = found.get(fault.index)
        if known is None:
            found[fault.index] = RejectedRead(index=fault.index, code=fault.code, detail=fault.detail)
        else:
            known.detail += f"; {fault.detail}"
    return found
