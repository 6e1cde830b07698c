"""Cases and decisions as they go over HTTP. Hashes and identities are text: JSON readers round them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from api.fields import Clean, Label, ObjectId
from api.ledger.schemas import Big, Moment
from api.registry.schemas import Input

RecordType = Literal["payment", "read"]
Decision = Literal["keep_first", "take_new", "count_both", "undo"]
MAX_CASES = 1000
"""Most cases of one request."""


def _uint64(text: str) -> str:
    if int(text) >= 1 << 64:
        raise PydanticCustomError("out_of_range", "Expected a 64-bit number as text.")
    return text


BigIn = Annotated[str, StringConstraints(pattern="^[0-9]{1,20}$"), AfterValidator(_uint64)]
"""A 64-bit number as text, as it is told."""
Hashes = Annotated[list[BigIn], Field(max_length=1000)]
DecisionId = Annotated[
    str,
    StringConstraints(pattern="^[A-Za-z0-9_-]{1,64}$"),
    Field(
        description="Chosen by the sender: the same decision sent again under it is stored once. "
        "Made here when it is left out."
    ),
]


LatestSeen = Annotated[
    str,
    StringConstraints(max_length=300),
    Clean,
    Field(
        description="`decision_id` of the latest decision you have seen, empty for none: "
        "409 with the present one when another has been made since."
    ),
]


class Version(BaseModel):
    """One content of a record: where and when it came, and whether it counts now."""

    content_hash: Big
    position: Big
    counting: bool
    outcome: str
    dataset_id: str
    source_ref: str
    line: int
    received_at: Moment
    stored_at: Moment


class Case(BaseModel):
    """A record that came with several contents, and what was decided about it."""

    organization_id: str
    record_type: str
    record_id: str
    identity: Big
    open: bool = Field(
        description="Somebody has to decide: nothing is decided, or a version came after the decision."
    )
    differing_fields: list[str] = Field(
        description="Fields both supplied with different values; STATUS also when one version has none and"
        " another one with which the payment does not count, TRANSACTION_TYPE when one is a reversal and"
        " another has none, PAYMENT_CURRENCY when it is not the default that another one got."
    )
    versions: list[Version] = Field(description="The accepted one first, then as they were stored.")
    decision: str = Field(description="The latest decision; empty for none.")
    decision_id: str
    decided_by: str = Field(description="`rule`, or the id of a user; empty for none.")
    decided_at: Moment | None


class FullVersion(Version):
    """A version with everything its sender supplied."""

    fields: dict[str, str] = Field(description="By field; personal ones as pseudonyms, coordinates blurred.")


class VersionValue(BaseModel):
    """What one version says in a field."""

    content_hash: Big
    value: str | None = Field(description="Null when this version did not supply the field.")


class FieldDifference(BaseModel):
    """A field in which versions differ, with the value of each. Personal fields are never among them."""

    field: str
    values: list[VersionValue]


class DecisionMade(BaseModel):
    """A decision as it was appended; none is ever changed."""

    decision_id: str
    decision: str
    selected: list[Big] = Field(description="Contents that count; empty: the first.")
    known: list[Big] = Field(description="Contents that were known; another one opens the case again.")
    decided_by: str
    rule: str = Field(description="The conflict rule, or the filter of a decision in bulk; else empty.")
    decided_at: Moment


class CaseInFull(Case):
    """A case with all contents and all decisions ever made, oldest first."""

    versions: list[FullVersion]  # type: ignore[assignment]
    differences: list[FieldDifference]
    decisions: list[DecisionMade]


class DecisionIn(Input):
    """A decision about one case."""

    decision: Decision
    selected: Hashes | None = Field(
        None,
        description="The versions meant: exactly one for take_new (else the newest), at least two for "
        "count_both (else all). Not for keep_first and undo. Reads cannot count twice.",
    )
    known: Hashes | None = Field(
        None, description="The versions you have seen: 409 when another one has arrived since."
    )
    latest_decision_id: LatestSeen | None = None
    decision_id: DecisionId | None = None


class CaseNamed(Input):
    """One case of a list."""

    record_type: RecordType
    identity: BigIn
    known: Hashes | None = Field(None, description="The versions you have seen; the case is skipped if not.")
    latest_decision_id: LatestSeen | None = None


class CaseFilter(Input):
    """Which cases of an organisation are meant; every condition that is given must hold."""

    organization_id: ObjectId
    dataset_id: ObjectId | None = Field(None, description="Of any version.")
    record_type: RecordType | None = None
    only_fields: Annotated[list[Label], Field(min_length=1, max_length=50)] | None = Field(
        None, description="No other field differs."
    )
    transaction_type: Annotated[str, StringConstraints(max_length=40), Clean] | None = Field(
        None, description="Of the newest version."
    )
    decision_id: DecisionId | None = Field(
        None, description="The latest decision, such as an earlier one in bulk."
    )
    open: bool | None = Field(
        None, description="Left out: the open ones, or for undo all that have a decision."
    )


class BulkIn(Input):
    """One decision about many cases: those of a filter, or those of a list."""

    decision: Decision
    filter: CaseFilter | None = None
    cases: Annotated[list[CaseNamed], Field(min_length=1, max_length=MAX_CASES)] | None = None
    dry_run: bool = Field(False, description="Say what would be decided, and decide nothing.")
    limit: int = Field(500, ge=1, le=MAX_CASES, description="Most cases of the filter in this request.")
    cursor: Annotated[str, StringConstraints(max_length=1000), Clean] | None = Field(
        None, description="`next` of the answer before."
    )
    decision_id: DecisionId | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "BulkIn":
        if (self.filter is None) == (self.cases is None):
            raise PydanticCustomError("one_of", "Give either `filter` or `cases`.")
        if self.cases is not None and self.cursor is not None:
            raise PydanticCustomError("one_of", "A cursor goes on with a filter, not with a list.")
        return self

    def rule(self) -> str:
        """What is recorded as the rule: the filter as JSON, nothing for a list."""
        return self.filter.model_dump_json(exclude_none=True) if self.filter else ""


class CaseRef(BaseModel):
    """Names one case."""

    organization_id: str
    record_type: str
    record_id: str
    identity: Big

    @classmethod
    def of(cls, row: dict[str, Any]) -> "CaseRef":
        """The name of a case of the view `conflicts`."""
        return cls.model_validate({name: row[name] for name in cls.model_fields})


class Skipped(BaseModel):
    """A case that was not decided, and why."""

    record_type: str
    identity: Big
    code: str
    detail: str


class BulkOut(BaseModel):
    """What a decision in bulk did, or would do."""

    decision_id: str
    dry_run: bool
    decided: list[CaseRef]
    already: list[CaseRef] = Field(description="Decided before under the same decision_id.")
    skipped: list[Skipped]
    skipped_by_code: dict[str, int] = Field(
        description="How many were skipped for what, such as reads for `count_both`."
    )
    next: str | None = Field(description="Pass it as `cursor` to go on; null when the filter is through.")
