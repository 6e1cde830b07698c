"""What a dry run answers. Nothing in it is a value of a row."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.checks.ledger import LedgerReport, NearMiss
from producers.dry_judge import Finding
from producers.dry_run import Report, conflict_json, outcomes_json

Decision = Literal["take_new", "count_both"]


class Fault(BaseModel):
    """Why a file cannot be read as a whole, or something about it that refuses no row."""

    code: str
    detail: str


class LineFault(BaseModel):
    """One fault of a row; a row may have several."""

    line: int = Field(description="Physical line on which the row starts, counted from 1 with the header.")
    field: str = Field(description="Field with the fault; empty when the row cannot be read.")
    code: str
    detail: str


class Outcomes(BaseModel):
    """Rows by outcome; they add up to `rows`."""

    accepted: int
    duplicate: int
    conflict: int
    quarantined: int


class Duplicate(BaseModel):
    """A row that was in the file before, and where."""

    line: int
    first_line: int | None


class Conflict(BaseModel):
    """A row with the ID of another one and other content."""

    line: int
    first_line: int | None = Field(description="Line of the ID's first version; null: not in this file.")
    fields: list[str] = Field(description="Fields that both supplied and that differ.")
    decision: Decision | None = Field(description="What the dataset's rule decides; null: people do.")


class StoredVersion(BaseModel):
    """Where a version that is stored came from."""

    dataset_id: str
    source: str
    source_ref: str
    line: int


class LedgerConflict(Conflict):
    """A conflict with what is stored, or within the file."""

    stored: StoredVersion | None = Field(description="The first version, when it is not in this file.")


class Hint(BaseModel):
    """A connection whose external id differs from the row's id only in case, spaces or leading zeros."""

    line: int
    connection_id: str
    external_id: str


class WouldMatch(BaseModel):
    """Good rows by the connection they would find now: METER_ID first, then EXTERNAL_ID."""

    matched: int
    ambiguous: int = Field(description="Several connections found; counted nowhere.")
    unmatched: int
    rate: float | None = Field(description="matched / (matched + ambiguous + unmatched); null without rows.")
    near: int = Field(description="Unmatched rows that have a near miss.")
    hints: list[Hint]


class AgainstLedger(BaseModel):
    """The same rows beside everything that is stored now."""

    outcomes: Outcomes
    conflicts: list[LedgerConflict]
    match: WouldMatch


class CheckOut(BaseModel):
    """What would become of a file. Lists have at most 1,000 entries; counts are of all."""

    file: str
    profile: str
    rows: int
    ok: int
    bad: int
    file_error: Fault | None = Field(description="The file as a whole is refused; no row is received.")
    errors: list[LineFault]
    errors_total: int
    reasons: dict[str, int] = Field(description="Rows by fault, as `code` or `code:FIELD`.")
    outcomes: Outcomes = Field(description="As if nothing was stored before.")
    duplicates: list[Duplicate]
    conflicts: list[Conflict]
    warnings: list[Fault]
    ledger: AgainstLedger


class DatasetCheck(BaseModel):
    """What would become of everything that waits at a dataset's source."""

    dataset_id: str
    complete: bool = Field(
        description="Whether that is all: one request looks at 50 files, ranges or windows with rows, and at"
        " no window behind one that is refused."
    )
    checks: list[CheckOut] = Field(description="One for each file, sheet range or window.")


def check_out(report: Report, ledger: LedgerReport) -> CheckOut:
    """The answer made of both reports."""
    return CheckOut.model_validate({**report.to_json(), "ledger": _ledger(ledger)})


def _ledger(report: LedgerReport) -> dict[str, Any]:
    rows = sum(report.matches.values())
    counts = {result: report.matches[result] for result in ("matched", "ambiguous", "unmatched")}
    return {
        "outcomes": outcomes_json(report.outcomes),
        "conflicts": [{**conflict_json(found), "stored": _stored(found)} for found in report.conflicts],
        "match": {
            **counts,
            "rate": round(report.matches["matched"] / rows, 4) if rows else None,
            "near": report.near,
            "hints": [_hint(hint) for hint in report.hints],
        },
    }


def _stored(found: Finding) -> dict[str, Any] | None:
    if found.stored is None:
        return None
    return {name: found.stored[name] for name in ("dataset_id", "source", "source_ref", "line")}


def _hint(hint: NearMiss) -> dict[str, Any]:
    return {"line": hint.line, "connection_id": hint.connection_id, "external_id": hint.external_id}
