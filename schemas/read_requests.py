"""The body that a device posts, and how it becomes rows of the topic `reads`.

The seed developer-onboarding gives the body; times without a zone are in the body's `timezone`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SkipValidation
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from schemas.json_members import repeated_member
from schemas.outcomes import Code
from schemas.read_model import EnergyCell, ReadType, Unit
from schemas.reads import ReadValidator
from schemas.sentences import row_error
from schemas.timestamps import MomentCell, is_naive, parse_timestamp

MAX_READS: Final = 10_000
"""Most reads of one request."""
_FIELD_NAMES: Final = {"start": "starttimestamp", "end": "endtimestamp"}
_VALIDATOR: Final = ReadValidator()


def _known_timezone(name: str) -> str:
    """The name itself, if there is such a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("unknown_timezone", "no such time zone in the IANA database") from None
    return name


class PostedRead(TypedDict, total=False):
    """One read of the body; `starttimestamp` is left out for a register's value."""

    starttimestamp: MomentCell
    endtimestamp: MomentCell
    value: EnergyCell


class MeterReadsRequest(BaseModel):
    """Body of `POST /meter-reads/{external_id}`. Single reads are judged later, each for itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timezone: Annotated[str, AfterValidator(_known_timezone)] | None = Field(
        default=None, description="IANA name for times without a zone; UTC if absent."
    )
    type: ReadType
    unit: Unit
    reads: list[SkipValidation[PostedRead]] = Field(min_length=1, max_length=MAX_READS)


@dataclass(frozen=True, slots=True)
class ReadFault:
    """One fault of one read of a request: `index` counts from 0 in `reads`."""

    index: int
    code: Code
    detail: str


@dataclass(frozen=True, slots=True)
class JudgedReads:
    """A request as topic rows, in order, with the faults the pipeline will find in them.

    Rejected reads are among the rows: they are received rows too, and end in quarantine.
    """

    rows: Sequence[dict[str, Any]]
    rejected: Sequence[ReadFault]


def judge(request: MeterReadsRequest, device_external_id: str, now_ms: int) -> JudgedReads:
    """Turn a request into topic rows and validate them as the streams do; `now_ms` is in UTC."""
    zone = ZoneInfo(request.timezone) if request.timezone else None
    reads: Sequence[Any] = request.reads
    rows = [_row(read, request, device_external_id, zone) for read in reads]
    errors = _VALIDATOR.validate(rows, now_ms).errors
    rejected = [
        ReadFault(index, error.code, f"{_FIELD_NAMES.get(error.field, error.field)}: {error.detail}")
        for index in range(len(rows))
        for error in _faults_of(reads[index], errors.get(index, ()))
    ]
    return JudgedReads(rows, rejected)


def _faults_of(read: Any, errors: Sequence[Any]) -> Sequence[Any]:
    """The faults of a read; one that is no object, or has a member twice, has only that one."""
    if not isinstance(read, dict):
        return [row_error("read", Code.NOT_OBJECT)]
    repeated = repeated_member(read) is not None
    return [row_error("read", Code.REPEATED_MEMBER)] if repeated else errors


def _row(
    read: Any, request: MeterReadsRequest, device_external_id: str, zone: ZoneInfo | None
) -> dict[str, Any]:
    """One topic row; what is no object has no times and no value, so the streams refuse it too."""
    posted = read if isinstance(read, dict) else {}
    row = {
        "device_external_id": device_external_id,
        "type": request.type,
        "end": _in_utc(posted.get("endtimestamp"), zone),
        "value": posted.get("value"),
        "unit": request.unit,
    }
    if posted.get("starttimestamp") is not None:
        row["start"] = _in_utc(posted["starttimestamp"], zone)
    return row


def _in_utc(value: Any, zone: ZoneInfo | None) -> Any:
    """A local time as UTC text; everything else, and what cannot be read, as it came.

    Of an hour that summer time repeats the first is meant; an hour that it skips is read with the
    offset before the change (PEP 495).
    """
    if zone is None or not isinstance(value, str) or not is_naive(value):
        return value
    try:
        local = datetime.fromtimestamp(parse_timestamp(value) / 1000, UTC).replace(tzinfo=zone)
        return local.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (PydanticCustomError, OverflowError):
        return value
