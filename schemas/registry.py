"""Messages of the registry topics: the newest version of every object, never with secrets.

A consumer drops a message whose version is not above the one it knows. Every consumer reads with
`parse`: a message that one of them takes and another refuses would be known here and unknown there.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)

from schemas.conflicts import DEFAULT_RULE
from schemas.fields import NAMES, PROFILES
from schemas.topics import RegistryKind

FAULTS_NAMED: Final = 5
"""Most faults that an error of a message names."""


class RegistryMessageError(Exception):
    """A registry record that is none of ours; says which fields are wrong, never their values."""


def _iso_ms(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


FIRST_DAY: Final = date(1900, 1, 1)
LAST_DAY: Final = date(2299, 12, 31)
"""What ClickHouse's Date32 and DateTime64 hold; the API asks for the same."""


def storable(moment: datetime) -> datetime:
    """The moment in UTC.

    Raises:
        ValueError: its day in UTC is not one of 1900 to 2299.
    """
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the years 1900 to 2299") from None
    if not FIRST_DAY <= utc.date() <= LAST_DAY:
        raise ValueError("outside the years 1900 to 2299")
    return utc


def _profile(name: str) -> str:
    if name not in PROFILES:
        raise ValueError("unknown profile")
    return name


def _field(name: str) -> str:
    if name not in NAMES:
        raise ValueError("unknown field")
    return name


Id = Annotated[str, Field(min_length=1, max_length=64)]
ExternalId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
Moment = Annotated[
    AwareDatetime,
    AfterValidator(storable),
    PlainSerializer(_iso_ms, return_type=str, when_used="json"),
]
Day = Annotated[date, Field(ge=FIRST_DAY, le=LAST_DAY)]
Count = Annotated[int, Field(ge=1, lt=1 << 62)]


class RegistryMessage(BaseModel):
    """What every object has. Unknown fields are ignored, so that a newer sender does no harm."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id = Field(description="Text id: a kind's prefix and 26 characters.")
    number: Count = Field(description="The object's number, for models that want integers.")
    version: Count = Field(description="One more with every change.")
    changed_at: Moment = Field(description="When this version was made, UTC.")
    archived: bool = Field(default=False, description="No longer in use; facts about it stay.")


class OrganizationMessage(RegistryMessage):
    """An organisation, which owns its rows."""

    name: str


class ProjectMessage(RegistryMessage):
    """A project of an organisation."""

    organization_id: Id
    name: str
    country: str = Field(description="ISO 3166-1 alpha-2.")
    programme_ids: list[Id] = Field(default=[], description="Programmes in which it is enrolled.")


class DeviceMessage(RegistryMessage):
    """A device; its external id is unique within the organisation."""

    organization_id: Id
    project_id: Id
    external_id: ExternalId
    manufacturer: str
    serial_number: str
    capacity_kw: float | None = Field(default=None, description="Rated power in kW.")
    commissioned_on: Day | None = None
    onboarded_at: Moment | None = Field(default=None, description="Reads of type History lie before it.")


class ConnectionMessage(RegistryMessage):
    """A household or business; its external id is unique within the project."""

    organization_id: Id
    project_id: Id
    external_id: ExternalId = Field(description="What METER_ID of a payment must equal, after trimming.")
    customer_external_id: str | None = None
    device_id: Id | None = None
    valid_from: Moment | None = Field(default=None, description="Since ever if absent.")
    valid_to: Moment | None = Field(default=None, description="Until further notice if absent.")


class ConflictRule(BaseModel):
    """What decides by itself when an id comes with other content; absent lists never apply.

    See `schemas.conflicts.apply_conflict_rule`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    take_new_if_only: list[str] = []
    count_both_if_type: list[str] = []


class DatasetMessage(RegistryMessage):
    """An integration: where an organisation's rows come from and what is meant by them."""

    organization_id: Id
    name: str
    provider: str
    source: str
    type: str
    target: Literal["project", "programme"]
    project_ids: list[Id] = []
    programme_id: Id | None = None
    id_namespace: str = ""
    conflict_rule: ConflictRule = ConflictRule.model_validate(DEFAULT_RULE)
    default_currency: str | None = Field(default=None, description="ISO 4217.")
    schedule: str = "daily"
    state: Literal["active", "paused"] = "active"
    profile: Annotated[str, AfterValidator(_profile)] = Field(
        default="s3", description="Which fields are required."
    )
    required_fields: list[Annotated[str, AfterValidator(_field)]] = Field(
        default=[], description="Fields that are required besides."
    )


REGISTRY_MODELS: Final[dict[RegistryKind, type[RegistryMessage]]] = {
    "organizations": OrganizationMessage,
    "projects": ProjectMessage,
    "devices": DeviceMessage,
    "connections": ConnectionMessage,
    "datasets": DatasetMessage,
}
"""Model of the value of each registry topic."""


def parse(kind: RegistryKind, value: bytes) -> RegistryMessage:
    """The message of a record's value.

    Raises:
        RegistryMessageError: it is not one of this kind.
    """
    try:
        return REGISTRY_MODELS[kind].model_validate_json(value)
    except ValidationError as exc:
        faults = exc.errors(include_input=False, include_url=False)[:FAULTS_NAMED]
        named = [f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['type']}" for fault in faults]
        raise RegistryMessageError(", ".join(named)) from None
