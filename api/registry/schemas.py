"""What clients send and get for organisations, projects, devices and connections."""

from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_serializer, field_validator
from pydantic_core import PydanticCustomError

from api.db import iso_ms
from api.fields import Country, ExternalId, Kilowatts, Label, Moment, Name, ObjectId, ProgrammeId
from schemas.registry import Day

Capacity = Annotated[Kilowatts | None, Field(description="Nameplate capacity in kW.")]


class Input(BaseModel):
    """A body: unknown fields are errors, because a misspelt optional field would be lost silently."""

    model_config = ConfigDict(extra="forbid")


class Patch(Input):
    """A partial change: only the fields that are sent change.

    Attributes:
        nullable: fields for which an explicit null is a value ("take it away").
    """

    nullable: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _no_stray_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.nullable:
            raise PydanticCustomError(
                "null", "Expected a value: null is none here. Leave the field out to keep it."
            )
        return value

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Output(BaseModel):
    """What every registry object is answered with."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    number: int
    version: int = Field(description="One more for every change.")
    created_at: datetime
    changed_at: datetime
    archived: bool

    @field_serializer(
        "created_at", "changed_at", "onboarded_at", "valid_from", "valid_to", check_fields=False
    )
    def _iso(self, moment: datetime | None) -> str | None:
        return iso_ms(moment) if moment else None


class OrganizationIn(Input):
    """A new organisation."""

    name: Name


class OrganizationPatch(Patch):
    """Changes of an organisation."""

    name: Name | None = None
    archived: bool | None = None


class OrganizationOut(Output):
    """An organisation."""

    name: str


class ProjectIn(Input):
    """A new project."""

    organization_id: ObjectId
    name: Name
    country: Country
    programme_ids: list[ProgrammeId] = Field([], max_length=100, description="Programmes it is enrolled in.")


class ProjectPatch(Patch):
    """Changes of a project."""

    name: Name | None = None
    country: Country | None = None
    programme_ids: list[ProgrammeId] | None = Field(None, max_length=100)
    archived: bool | None = None


class ProjectOut(Output):
    """A project."""

    organization_id: str
    name: str
    country: str
    programme_ids: list[str]


class DeviceIn(Input):
    """A new device; its organisation is its project's."""

    project_id: ObjectId
    external_id: ExternalId
    manufacturer: Label
    serial_number: ExternalId
    capacity_kw: Capacity = None
    commissioned_on: Day | None = None
    onboarded_at: Moment | None = Field(None, description="History reads end before this moment.")


class DevicePatch(Patch):
    """Changes of a device. The external id names its reads and does not change."""

    nullable = frozenset({"capacity_kw", "commissioned_on", "onboarded_at"})

    manufacturer: Label | None = None
    serial_number: ExternalId | None = None
    capacity_kw: Capacity = None
    commissioned_on: Day | None = None
    onboarded_at: Moment | None = None
    archived: bool | None = None


class DeviceOut(Output):
    """A device."""

    organization_id: str
    project_id: str
    external_id: str
    manufacturer: str
    serial_number: str
    capacity_kw: float | None
    commissioned_on: date | None
    onboarded_at: datetime | None


class ConnectionIn(Input):
    """A new connection; its organisation is its project's."""

    project_id: ObjectId
    external_id: ExternalId
    customer_external_id: ExternalId | None = None
    device_id: ObjectId | None = None
    valid_from: Moment | None = Field(None, description="Payments before it do not count; null: since ever.")
    valid_to: Moment | None = Field(None, description="Payments from it on do not count; null: no end.")


class ConnectionPatch(Patch):
    """Changes of a connection."""

    nullable = frozenset({"customer_external_id", "device_id", "valid_from", "valid_to"})

    project_id: ObjectId | None = Field(None, description="Another project of the same organisation.")
    external_id: ExternalId | None = None
    customer_external_id: ExternalId | None = None
    device_id: ObjectId | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    archived: bool | None = None


class ConnectionOut(Output):
    """A connection."""

    organization_id: str
    project_id: str
    external_id: str
    customer_external_id: str | None
    device_id: str | None
    valid_from: datetime | None
    valid_to: datetime | None
