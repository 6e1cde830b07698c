"""What clients send and get for datasets and runs. Credentials go in and never come out."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.datasets.sources import (
    Place,
    PullIn,
    PullOut,
    S3In,
    S3Out,
    SheetIn,
    SheetOut,
    Source,
    UploadIn,
    UploadOut,
)
from api.db import iso_ms
from api.fields import Clean, Currency, Label, Name, ObjectId, ProgrammeId, Reason
from api.registry.schemas import Input, Output, Patch
from schemas.fields import NAMES

Schedule = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    StringConstraints(
        strip_whitespace=True, pattern=r"^(daily|([01][0-9]|2[0-3]):[0-5][0-9]|[1-9][0-9]{0,6})$"
    ),
    Field(description="`daily`, a time of day `HH:MM` in UTC, or a number of seconds."),
]
FieldNames = Annotated[list[Label], Field(max_length=50)]


def _payment_field(name: str) -> str:
    if name not in NAMES:
        raise PydanticCustomError("unknown_field", "Expected the name of a payment's field, in capitals.")
    return name


RequiredFields = Annotated[
    list[Annotated[str, AfterValidator(_payment_field)]],
    Field(max_length=len(NAMES), description="Fields that rows must have besides those of the profile."),
]


class ConflictRule(Input):
    """What decides by itself when a known ID arrives with other content; both empty: always ask."""

    take_new_if_only: FieldNames = Field(["STATUS", "NOTES"], description="A change in these alone is taken.")
    count_both_if_type: FieldNames = Field(["REVERSAL"], description="New versions of these types count too.")


PLACES = ("s3", "sheet", "pull", "upload")
NEEDS_PLACE = frozenset({"s3", "sheet", "pull"})


def place_of(body: "DatasetIn | DatasetPatch") -> Place | None:
    """The place that a body names."""
    found: list[Place | None] = [getattr(body, name) for name in PLACES]
    return next((place for place in found if place is not None), None)


class DatasetIn(Input):
    """A new dataset."""

    name: Name
    provider: Label
    source: Source
    type: Literal["electricity_payments"]
    organization_id: ObjectId
    target: Literal["project", "programme"]
    project_ids: list[ObjectId] = Field([], max_length=1000)
    programme_id: ProgrammeId | None = None
    id_namespace: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), Clean] = ""
    conflict_rule: ConflictRule | None = None
    default_currency: Currency | None = None
    required_fields: RequiredFields = Field([])
    schedule: Schedule | None = None
    s3: S3In | None = None
    sheet: SheetIn | None = None
    pull: PullIn | None = None
    upload: UploadIn | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "DatasetIn":
        """The part that the source names is there, and no other."""
        if self.source in NEEDS_PLACE and getattr(self, self.source) is None:
            text = "Expected `{source}` in the body, which says where the source `{source}` is."
            raise PydanticCustomError("place_missing", text, {"source": self.source})
        stray = [name for name in PLACES if name != self.source and getattr(self, name) is not None]
        if stray:
            text = "Found `{stray}`, which does not belong to the source `{source}`."
            raise PydanticCustomError("stray_place", text, {"stray": stray[0], "source": self.source})
        return self

    def place(self) -> Place | None:
        """Where the source is."""
        return place_of(self)


class DatasetPatch(Patch):
    """Changes of a dataset. Organisation, namespace, source and type make its rows' identity and stay."""

    nullable = frozenset({"default_currency", "programme_id"})

    name: Name | None = None
    provider: Label | None = None
    project_ids: list[ObjectId] | None = Field(None, max_length=1000)
    programme_id: ProgrammeId | None = None
    conflict_rule: ConflictRule | None = None
    default_currency: Currency | None = None
    schedule: Schedule | None = None
    state: Literal["active", "paused"] | None = None
    reason: Reason | None = Field(
        None, description="Why the dataset is changed, for the audit; no personal data. Of a pause also told"
        " as `state_detail`."
    )  # fmt: skip
    required_fields: RequiredFields | None = None
    s3: S3In | None = None
    sheet: SheetIn | None = None
    pull: PullIn | None = None
    upload: UploadIn | None = None
    archived: bool | None = None

    def place(self) -> Place | None:
        """Where the source is from now on, if that changes."""
        return place_of(self)


class DatasetOut(Output):
    """A dataset."""

    organization_id: str
    name: str
    provider: str
    source: str
    type: str
    target: str
    project_ids: list[str]
    programme_id: str | None
    id_namespace: str
    conflict_rule: ConflictRule
    default_currency: str | None
    schedule: str
    state: str
    state_detail: str = Field(description="Why it was paused: what the brake, or who paused it, said.")
    required_fields: list[str]
    s3: S3Out | None
    sheet: SheetOut | None
    pull: PullOut | None
    upload: UploadOut | None


class RunFileOut(BaseModel):
    """What became of one file: a version of an object, a range of a sheet, a window."""

    id: str = Field(description="Its receipt, under /v1/receipts.")
    source_ref: str
    state: str
    received: int
    destination: str | None
    error: str | None
    detail: str | None


class RunSummary(BaseModel):
    """A run as the poller knows it: `done` here means that every row is in the topic."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    dataset_id: str
    trigger: Literal["demand", "schedule", "upload"]
    state: Literal["requested", "running", "storing", "done", "failed"]
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @field_serializer("created_at", "started_at", "finished_at")
    def _iso(self, moment: datetime | None) -> str | None:
        return iso_ms(moment) if moment else None


class RunOut(RunSummary):
    """A run. It is `done` when every received row has its outcome, or is lost; `storing` until then."""

    received: int
    accepted: int
    duplicate: int
    conflict: int
    quarantined: int
    lost: int = Field(
        description="Rows that will have no outcome: gone from the broker before they were judged."
    )
    files: list[RunFileOut]
