"""What clients send and get for datasets and runs. Credentials go in and never come out."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_serializer,
)
from pydantic_core import PydanticCustomError

from api.db import iso_ms
from api.fields import Clean, Currency, Label, Name, ObjectId, ProgrammeId
from api.registry.schemas import Input, Output, Patch

Schedule = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    StringConstraints(
        strip_whitespace=True, pattern=r"^(daily|([01][0-9]|2[0-3]):[0-5][0-9]|[1-9][0-9]{0,6})$"
    ),
    Field(description="`daily`, a time of day `HH:MM` in UTC, or a number of seconds."),
]
FieldNames = Annotated[list[Label], Field(max_length=50)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=500)]


def _no_steps(prefix: str) -> str:
    """A prefix is no path: a store over a folder would leave the bucket by `..`."""
    if any(part in (".", "..") for part in prefix.replace("\\", "/").split("/")):
        raise PydanticCustomError("steps_in_prefix", "Expected no part `.` or `..` between slashes.")
    return prefix


class ConflictRule(Input):
    """What decides by itself when a known ID arrives with other content; both empty: always ask."""

    take_new_if_only: FieldNames = Field(["STATUS", "NOTES"], description="A change in these alone is taken.")
    count_both_if_type: FieldNames = Field(["REVERSAL"], description="New versions of these types count too.")


class S3In(Input):
    """Where the files are, and the key that opens the bucket."""

    bucket: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), Clean]
    prefix: Annotated[str, StringConstraints(max_length=900), Clean, AfterValidator(_no_steps)] = ""
    endpoint_url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=500), Clean] | None = (
        None
    )
    region: Label = "us-east-1"
    access_key: Secret
    secret_key: Secret


class S3Out(BaseModel):
    """Where the files are; the keys are not told."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    region: str


class DatasetIn(Input):
    """A new dataset."""

    name: Name
    provider: Label
    source: Literal["s3"]
    type: Literal["electricity_payments"]
    organization_id: ObjectId
    target: Literal["project", "programme"]
    project_ids: list[ObjectId] = Field([], max_length=1000)
    programme_id: ProgrammeId | None = None
    id_namespace: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), Clean] = ""
    conflict_rule: ConflictRule | None = None
    default_currency: Currency | None = None
    schedule: Schedule | None = None
    s3: S3In


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
    s3: S3In | None = None
    archived: bool | None = None


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
    state_detail: str = Field(description="Why it was paused by itself; empty otherwise.")
    s3: S3Out = Field(validation_alias="location", serialization_alias="s3")


class RunFileOut(BaseModel):
    """What became of one version of one object."""

    source_ref: str
    state: str
    received: int
    destination: str | None
    error: str | None


class RunSummary(BaseModel):
    """A run as the poller knows it: `done` here means that every row is in the topic."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    dataset_id: str
    trigger: Literal["demand", "schedule"]
    state: Literal["requested", "running", "storing", "done", "failed"]
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @field_serializer("created_at", "started_at", "finished_at")
    def _iso(self, moment: datetime | None) -> str | None:
        return iso_ms(moment) if moment else None


class RunOut(RunSummary):
    """A run. It is `done` when every received row has its outcome; `storing` until then."""

    received: int
    accepted: int
    duplicate: int
    conflict: int
    quarantined: int
    files: list[RunFileOut]
