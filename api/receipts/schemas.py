"""A receipt as it is told over HTTP."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.ledger.schemas import Moment
from api.receipts.taken import State

AddsUp = Literal["storing", "complete", "lost"]
Sourced = Literal["s3", "sheet", "pull", "upload", "api", "device"]
Outcomed = Literal["accepted", "duplicate", "conflict", "quarantined"]


class Outcomes(BaseModel):
    """Rows by outcome."""

    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    quarantined: int = 0


class PlaceOut(BaseModel):
    """What a receipt has in one partition, as far as it is judged."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


class ReceiptOut(Outcomes):
    """What was received of one file, sheet reading, window, upload or request, and what became of it.

    `received` = `accepted` + `duplicate` + `conflict` + `quarantined` + `waiting` + `lost`, always. A replay
    from quarantine speaks for the row that it replays.
    """

    id: str
    organization_id: str | None = Field(
        description="Null for a device's request of which no row is judged yet."
    )
    dataset_id: str | None
    run_id: str | None
    source: str = Field(description="Channel: s3, sheet, pull, upload, api or device.")
    source_ref: str = Field(description="File and version, range, window or request; as in the ledger.")
    state: State = Field(
        description="`reading`: being read and published. `published`: all its rows are in the topic."
        " `refused`: a fault of the file as a whole. `replaced`: gone or changed before it was read to its"
        " end. `unacknowledged`: a request whose sender was told to send it again."
    )
    adds_up: AddsUp = Field(
        description="`storing` until every received row has its outcome, then `complete`; `lost` when rows"
        " will never have one, because the broker's retention took them before they were judged."
    )
    received: int = Field(description="Distinct rows received so far.")
    waiting: int = Field(0, description="Rows received that have no outcome yet.")
    lost: int = Field(0, description="Rows received that will have none.")
    first_outcomes: Outcomes = Field(description="The same rows by the outcome that they had at first.")
    reasons: dict[str, int] = Field(
        description="How many rows are quarantined now for each reason; a row may have several."
    )
    places: list[PlaceOut] = Field(description="Offsets of its first and last judged record by partition.")
    content_hash: str | None = Field(description="SHA-256 in hex of the bytes that were read.")
    started_at: Moment = Field(description="When it was taken up.")
    finished_at: Moment | None = Field(
        description="When its source was dealt with: a file moved, a request answered. Null for devices."
    )
    stored_at: Moment | None = Field(description="When the last of its rows had its first outcome.")
    duration_ms: int | None = Field(
        description="From `started_at` to the later one of `finished_at` and `stored_at`; null while"
        " `storing`."
    )
    destination: str | None = Field(description="Where the file was moved to.")
    error: str | None = Field(description="Reason code of a refused file.")
    detail: str | None = Field(description="What is wrong with a refused file, or is not read of another.")


class ReceiptPage(BaseModel):
    """One page of receipts, newest first."""

    items: list[ReceiptOut]
    next: str | None = Field(
        description="Pass it as `cursor` to get the next page; null on the last one. With `outcome` or"
        " `adds_up` a page may be short, even empty, and not the last one."
    )
    since: Moment | None = Field(
        serialization_alias="from",
        description="The list reaches back to here; null when all receipts of a dataset are listed.",
    )
    until: Moment | None = Field(serialization_alias="to")


Limit = Annotated[int, Field(ge=1, le=200)]
