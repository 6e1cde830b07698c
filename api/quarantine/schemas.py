"""Refused rows as told over HTTP, and what may be asked to be done with them."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from api.faults import FaultOut, faults_of
from api.fields import Line, Reason
from api.ledger.schemas import Big, Moment

MAX_BULK: Final = 1000
"""Most rows of one bulk request."""
MAX_CHANGES: Final = 300
FIRST_DAY: Final = date(1900, 1, 1)
LAST_DAY: Final = date(2299, 12, 30)
OPEN: Final = "open"
"""What is listed, counted and exported when nothing else is asked for: rows that wait for somebody."""
ALL: Final = "all"
"""Every received row whatever its state, each once: `redelivered` records have to be asked for."""
_STATES: Final = "open|replaying|replayed|discarded|superseded|redelivered"
Day = Annotated[date, Field(ge=FIRST_DAY, le=LAST_DAY)]
Text = Annotated[Line, Field(max_length=2500)]
RecordType = Annotated[Line, Field(pattern="^(payment|read)$")]
State = Annotated[Line, Field(pattern=f"^({_STATES}|{ALL})$")]


class RefusedOut(BaseModel):
    """One refused row; nothing of its values."""

    topic: str
    position: Big
    partition: int
    offset: int
    organization_id: str = Field(description="Organisation of the record header, known or not.")
    record_type: str
    record_id: str
    dataset_id: str
    source: str
    source_ref: str
    line: int
    reasons: list[str] = Field(description="Reason codes, each `code` or `code:FIELD`.")
    faults: list[FaultOut] = Field(
        description="The reasons in words: field, code, what it says, what is expected."
    )
    details: str = Field(description="What the reader said of a row that it could not read; else empty.")
    state: str = Field(
        description="open, replaying, replayed, discarded, superseded, or redelivered: another record of the"
        " same received row stands for this one."
    )
    missing_kind: str = Field(description="Kind of the unknown object whose registration replays the row.")
    missing_id: str
    received_at: Moment
    stored_at: Moment
    replay_of: Big | None = Field(description="Position of the refused row that this one replays.")

    @classmethod
    def of(cls, row: Mapping[str, Any], **more: Any) -> Self:
        """A row of the view `quarantine`."""
        return cls.model_validate({**row, "faults": faults_of(row["reasons"]), **more})


class ActionOut(BaseModel):
    """What was done about a refused row."""

    action: str = Field(description="claimed, withdrawn, discarded or requeued.")
    done_by: str = Field(description="Id of the user, `sweep` or `settler`.")
    reason: str
    changed: bool
    stored_at: Moment


class ReplayResult(BaseModel):
    """What became of a record that replays the row."""

    position: Big
    outcome: str
    reasons: list[str]
    stored_at: Moment


class RefusedDetail(RefusedOut):
    """One refused row with its history."""

    actions: list[ActionOut]
    replays: list[ReplayResult]
    records: list[Big] = Field(
        description="Positions of all refused records of the same received row, this one included; the first"
        " stands for them, and what is done with one is done with all."
    )


class CountOut(BaseModel):
    """Refused rows of one day, dataset and reason."""

    day: date = Field(description="Day of reception, UTC.")
    organization_id: str
    dataset_id: str
    reason: str
    rows: int


class CountsOut(BaseModel):
    """Refused rows by day, dataset and reason, newest day first."""

    total: int = Field(description="Rows that the filters let pass; one with two reasons counts once.")
    items: list[CountOut]
    more: bool = Field(description="Whether lines were left out; narrow the filters then.")


class OriginalOut(BaseModel):
    """A refused row as its sender meant it. Personal data: each opening is in the audit."""

    topic: str
    position: Big
    fields: dict[str, Any] | None = Field(description="Fields in plain; null when the row is no JSON object.")
    text: str | None = Field(description="The text that could not be read; null when there are fields.")


class ReplayIn(BaseModel):
    """Corrections of one row."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    changes: dict[str, Any] = Field(
        {},
        max_length=MAX_CHANGES,
        description="Field → new value, or null to take it away. A row that is no JSON object begins empty.",
    )


class DiscardIn(BaseModel):
    """Giving one row up."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Reason = Field(description="Why the row is given up; no personal data.")


class ActedOut(BaseModel):
    """What was done with one row."""

    topic: str
    position: Big
    done: str = Field(
        description="replayed: acknowledged by the broker, its outcome comes; discarded; restored."
    )
    changed: bool = Field(description="Whether the replay sends other content than the row had.")


class BulkIn(BaseModel):
    """Which open rows are meant. At least one of the filters must be given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Annotated[Line, Field(max_length=300)] | None = Field(
        None, description="A whole reason, or its code alone."
    )
    dataset_id: Text | None = None
    organization_id: Text | None = None
    record_type: RecordType | None = None
    source_ref: Text | None = None
    from_day: Day | None = Field(None, description="First day of reception, UTC.")
    to_day: Day | None = Field(None, description="Last day of reception, UTC.")
    limit: int = Field(500, ge=1, le=MAX_BULK, description="Most rows of this request.")
    cursor: Annotated[Line, Field(max_length=1000)] | None = Field(
        None, description="`next` of the request before: rows that it skipped are not tried again."
    )
    dry_run: bool = Field(False, description="Only count.")

    def filters(self) -> dict[str, Any]:
        """The filters that were given."""
        return self.model_dump(include=_FILTERS, exclude_none=True)


_FILTERS: Final = {
    "reason",
    "dataset_id",
    "organization_id",
    "record_type",
    "source_ref",
    "from_day",
    "to_day",
}


class BulkDiscardIn(BulkIn):
    """Which open rows are given up, and why."""

    why: Reason = Field(description="Why the rows are given up; no personal data.")


class SkippedOut(BaseModel):
    """A row that nothing was done with."""

    topic: str
    position: Big
    code: str = Field(description="Last part of the problem type that the row alone would be answered with.")


class BulkOut(BaseModel):
    """What a bulk request did."""

    dry_run: bool
    matched: int = Field(description="Open rows that were meant when the request came, over all pages.")
    waiting: int = Field(
        description="Of further open rows, those that replay themselves; never among `matched`."
    )
    done: int
    skipped: list[SkippedOut]
    next: str | None = Field(
        description="Pass it as `cursor` to go on; null when all rows were looked at that were stored when"
        " the first of these requests came. Replays that were refused again are later rows."
    )
