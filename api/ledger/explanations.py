"""What an explanation of a ledger row consists of."""

from typing import Any

from pydantic import BaseModel, Field

from api.ledger.checks import Check
from api.ledger.schemas import Big, Moment


class Lineage(BaseModel):
    """Where a row came from."""

    position: Big
    topic: str
    partition: int
    offset: int
    dataset_id: str
    source: str
    source_ref: str
    line: int
    received_at: Moment
    outcome: str


class Difference(BaseModel):
    """A field in which two versions differ; null for what a version did not supply."""

    field: str
    first: str | None = Field(description="In the first version.")
    this: str | None = Field(description="In the version of this row.")


class CaseState(BaseModel):
    """The case of a record that came with several contents; see `/v1/conflicts`."""

    open: bool = Field(description="Somebody has to decide.")
    versions: int
    differing_fields: list[str] = Field(description="Of all versions, personal ones by name only.")
    decision: str = Field(description="The latest; empty for none.")
    decided_by: str
    decided_at: Moment | None


class Candidate(BaseModel):
    """A connection."""

    connection_id: str
    project_id: str
    external_id: str


class Hint(BaseModel):
    """A connection whose external id nearly equals what was sent; never matched."""

    connection_id: str
    external_id: str


class Match(BaseModel):
    """The connection of a row as the views work it out now."""

    status: str = Field(description="matched, unmatched, or ambiguous: several connections were found.")
    matched_by: str = Field(
        description="METER_ID or EXTERNAL_ID of a payment, device of a read; empty for none."
    )
    connection_id: str = Field(description="Empty for none or several.")
    project_id: str
    counted: bool | None = Field(description="Whether a payment is evidence; null for a read.")
    reversed: bool | None = Field(description="Whether a REVERSAL takes the payment back; null for a read.")
    candidates: list[Candidate] = Field([], description="The connections found, when they are several.")
    hints: list[Hint] = []


class ReplayMade(BaseModel):
    """A record that replayed a quarantined row, and what became of it."""

    position: Big
    partition: int
    offset: int
    outcome: str
    reasons: list[str]
    stored_at: Moment


class Refusal(BaseModel):
    """What became of a quarantined row since."""

    state: str = Field(description="As the view `quarantine` tells it: open, replayed, superseded, …")
    details: str
    missing_kind: str
    missing_id: str = Field(description="The unknown object that it waits for; empty for none.")
    replays: list[ReplayMade] = []


class Explanation(BaseModel):
    """Why a row has its outcome, and what counts of it now."""

    checks: list[Check] = Field(description="In the order in which they are made.")
    first_occurrence: Lineage | None = Field(
        None, description="Of a conflict: the first version. Of a duplicate: the row that brought this "
        "content first or, for another spelling, the version that it does not differ from."
    )  # fmt: skip
    same_line: bool = Field(
        False, description="The first occurrence is the same line of the same file, delivered again."
    )
    differences: list[Difference] = Field(
        [], description="Of a conflict, against the first version. Personal fields are never among them."
    )
    case: CaseState | None = Field(None, description="When the record has several versions.")
    counts: bool = Field(description="This row's version is in force: analysts see it.")
    match: Match | None = Field(None, description="Null while the version is not in force.")
    stored: dict[str, Any] | None = Field(
        None, description="The row of the view `payments` or `reads`, numbers and times as text."
    )
    quarantine: Refusal | None = None
