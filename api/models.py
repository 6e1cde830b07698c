"""The tables of the registry: each object has a version and a form in which its topic carries it."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, iso_ms, now_ms
from schemas.fields import SOURCE_PROFILES

Json = JSON().with_variant(JSONB(), "postgresql")
BigInt = BigInteger().with_variant(Integer(), "sqlite")


class Registered(Base):
    """What all registry objects share: text id, number, version (from 1, one more per change)."""

    __abstract__ = True

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)
    archived: Mapped[bool] = mapped_column(Boolean, default=False)

    def common(self) -> dict[str, Any]:
        """The fields every registry message begins with."""
        return {
            "id": self.id,
            "number": self.number,
            "version": self.version,
            "changed_at": iso_ms(self.changed_at),
            "archived": self.archived,
        }

    def message(self) -> dict[str, Any]:
        """The value of its registry topic; never a secret."""
        raise NotImplementedError


class Organization(Registered):
    """A developer, a utility or a buyer; it owns everything below it."""

    __tablename__ = "organizations"

    name: Mapped[str] = mapped_column(String(300))

    def message(self) -> dict[str, Any]:
        """See `Registered.message`."""
        return {**self.common(), "name": self.name}


class Project(Registered):
    """A project of an organisation, in one country; enrolled in any number of programmes."""

    __tablename__ = "projects"

    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(String(300))
    country: Mapped[str] = mapped_column(String(2))
    programme_ids: Mapped[list[str]] = mapped_column(Json, default=list)

    def message(self) -> dict[str, Any]:
        """See `Registered.message`."""
        return {
            **self.common(),
            "organization_id": self.organization_id,
            "name": self.name,
            "country": self.country,
            "programme_ids": self.programme_ids,
        }


class Device(Registered):
    """A meter or a generator that sends reads; its external id is unique within its organisation."""

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("organization_id", "external_id"),)

    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    external_id: Mapped[str] = mapped_column(String(200))
    manufacturer: Mapped[str] = mapped_column(String(200))
    serial_number: Mapped[str] = mapped_column(String(200))
    capacity_kw: Mapped[float | None]
    commissioned_on: Mapped[date | None]
    onboarded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def message(self) -> dict[str, Any]:
        """See `Registered.message`."""
        return {
            **self.common(),
            "organization_id": self.organization_id,
            "project_id": self.project_id,
            "external_id": self.external_id,
            "manufacturer": self.manufacturer,
            "serial_number": self.serial_number,
            "capacity_kw": self.capacity_kw,
            "commissioned_on": self.commissioned_on.isoformat() if self.commissioned_on else None,
            "onboarded_at": iso_ms(self.onboarded_at) if self.onboarded_at else None,
        }


class Connection(Registered):
    """A household or business with a system; payments match its external id, unique in its project."""

    __tablename__ = "connections"
    __table_args__ = (UniqueConstraint("project_id", "external_id"),)

    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    external_id: Mapped[str] = mapped_column(String(200), index=True)
    customer_external_id: Mapped[str | None] = mapped_column(String(200))
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"), index=True)
    valid_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
    valid_to: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def message(self) -> dict[str, Any]:
        """See `Registered.message`."""
        return {
            **self.common(),
            "organization_id": self.organization_id,
            "project_id": self.project_id,
            "external_id": self.external_id,
            "customer_external_id": self.customer_external_id,
            "device_id": self.device_id,
            "valid_from": iso_ms(self.valid_from) if self.valid_from else None,
            "valid_to": iso_ms(self.valid_to) if self.valid_to else None,
        }


class Dataset(Registered):
    """An integration: where rows come from, whom they belong to, how they are read and judged."""

    __tablename__ = "datasets"
    __table_args__ = (
        Index(
            "ix_datasets_place_hash",
            "place_hash",
            unique=True,
            sqlite_where=text("NOT archived"),
            postgresql_where=text("NOT archived"),
        ),
    )

    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(String(300))
    provider: Mapped[str] = mapped_column(String(100))
    source: Mapped[str] = mapped_column(String(20))
    type: Mapped[str] = mapped_column(String(40))
    target: Mapped[str] = mapped_column(String(20))
    project_ids: Mapped[list[str]] = mapped_column(Json, default=list)
    programme_id: Mapped[str | None] = mapped_column(String(100))
    id_namespace: Mapped[str] = mapped_column(String(100), default="")
    conflict_rule: Mapped[dict[str, Any]] = mapped_column(Json)
    default_currency: Mapped[str | None] = mapped_column(String(3))
    schedule: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20), default="active")
    state_detail: Mapped[str] = mapped_column(Text, default="", server_default="")
    """Why the brake, or a person who said so, paused it; empty when it is active."""
    required_fields: Mapped[list[str]] = mapped_column(Json, default=list, server_default="[]")
    """Fields that its rows must have besides those of the profile."""
    location: Mapped[dict[str, Any]] = mapped_column(Json)
    """Where its source is, by the source; the keys are in `sealed_credentials`."""
    sealed_credentials: Mapped[str] = mapped_column(Text)
    place_hash: Mapped[str | None] = mapped_column(String(64))
    """Of its bucket and prefix, see `api.datasets.places`; None of a source that many may read."""

    @property
    def s3(self) -> dict[str, Any] | None:
        """The bucket, of a dataset that has one."""
        return self.location if self.source == "s3" else None

    @property
    def sheet(self) -> dict[str, Any] | None:
        """The sheet, of a dataset that has one."""
        return self.location if self.source == "sheet" else None

    @property
    def pull(self) -> dict[str, Any] | None:
        """The pull API, of a dataset that has one."""
        return self.location if self.source == "pull" else None

    @property
    def upload(self) -> dict[str, Any] | None:
        """What uploads may look like, of a dataset that takes them."""
        return self.location if self.source == "upload" else None

    def message(self) -> dict[str, Any]:
        """See `Registered.message`; neither location nor credentials leave the database."""
        return {
            **self.common(),
            "organization_id": self.organization_id,
            "name": self.name,
            "provider": self.provider,
            "source": self.source,
            "type": self.type,
            "target": self.target,
            "project_ids": self.project_ids,
            "programme_id": self.programme_id,
            "id_namespace": self.id_namespace,
            "conflict_rule": self.conflict_rule,
            "default_currency": self.default_currency,
            "schedule": self.schedule,
            "state": self.state,
            "profile": SOURCE_PROFILES[self.source],
            "required_fields": self.required_fields,
        }


KINDS: dict[str, type[Registered]] = {
    "organizations": Organization,
    "projects": Project,
    "devices": Device,
    "connections": Connection,
    "datasets": Dataset,
}
"""The registry's kinds, in the order in which one may refer to another."""
