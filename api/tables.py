"""The tables beside the registry: users, device tokens, runs and files, outbox, leases, audit, claims."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now_ms
from api.models import BigInt, Json


class User(Base):
    """A person who may log in; only the role `admin` exists now."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str] = mapped_column(String(300))
    role: Mapped[str] = mapped_column(String(20), default="admin")
    active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)


class DeviceToken(Base):
    """The record of a device's token; Redis is a cache of it. The token's text is never kept."""

    __tablename__ = "device_tokens"
    __table_args__ = (Index("ix_device_tokens_pending", "pending"),)

    jti: Mapped[str] = mapped_column(String(40), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pending: Mapped[bool] = mapped_column(Boolean, default=True)
    """Redis has not been told of the latest change yet."""


class Run(Base):
    """One look at a dataset, on demand or by schedule; its counts are those of its files."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_state_number", "state", "number"),)

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    trigger: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20))
    detail: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RunFile(Base):
    """One file in the wide sense of `producers.contracts.FileState`: how far it is, what it brought."""

    __tablename__ = "run_files"
    __table_args__ = (UniqueConstraint("dataset_id", "ref_hash"),)

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    source: Mapped[str] = mapped_column(String(20))
    """The channel, as in the record header `source`."""
    source_ref: Mapped[str] = mapped_column(Text)
    ref_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of `source_ref`: an object's name and version may be longer than an index takes."""
    state: Mapped[str] = mapped_column(String(20))
    claimed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    destination: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    error: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    content_hash: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 in hex of the bytes that were read."""


class Report(Base):
    """An object that was left alone and has been reported, once."""

    __tablename__ = "reports"
    __table_args__ = (UniqueConstraint("dataset_id", "what_hash"),)

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    what: Mapped[str] = mapped_column(Text)
    what_hash: Mapped[str] = mapped_column(String(64))
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)


class OutboxRow(Base):
    """A registry message waiting for, or through with, its way to the topic."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_state_seq", "state", "seq"), Index("ix_outbox_object_id", "object_id"))

    seq: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(20))
    object_id: Mapped[str] = mapped_column(String(40))
    version: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10), default="new")
    """`new` until the broker has acknowledged it, then `sent`."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Lease(Base):
    """A right that one process holds for a while, such as relaying the outbox."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    owner: Mapped[str] = mapped_column(String(60))
    until: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditEntry(Base):
    """Who did what to what; a trigger refuses every UPDATE and DELETE."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "subject_kind", "subject"),)

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    user_id: Mapped[str] = mapped_column(String(60), index=True)
    action: Mapped[str] = mapped_column(String(60))
    subject_kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(400))
    organization_id: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str] = mapped_column(String(64), index=True)
    details: Mapped[dict[str, Any]] = mapped_column(Json)


class QuarantineClaim(Base):
    """The right of one request to replay or discard one refused row; gone when what it did is known."""

    __tablename__ = "quarantine_claims"

    topic: Mapped[str] = mapped_column(String(249), primary_key=True)
    position: Mapped[str] = mapped_column(String(20), primary_key=True)
    """Decimal text: a position has 64 bits without a sign."""
    organization_id: Mapped[str] = mapped_column(Text)
    """As JSON text: a direct publisher's header may hold NUL, which PostgreSQL refuses."""
    claim_id: Mapped[str] = mapped_column(String(40))
    claimed_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
