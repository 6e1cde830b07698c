"""The tables beside the registry: users, tokens, runs and files, outbox, leases, audit, claims, uploads."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
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


class TokenRecord(Base):
    """The record of a token; Redis is a cache of it. The token's text is never kept.

    Each kind of subject has a table of its own, so that each keeps its foreign key.
    """

    __abstract__ = True

    jti: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject_id: Mapped[str]
    """Whose token it is."""
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pending: Mapped[bool] = mapped_column(Boolean, default=True)
    """Redis has not been told of the latest change yet."""


class DeviceToken(TokenRecord):
    """A token with which one device sends its reads."""

    __tablename__ = "device_tokens"
    __table_args__ = (Index("ix_device_tokens_pending", "pending"),)

    subject_id: Mapped[str] = mapped_column("device_id", ForeignKey("devices.id"), index=True)


class OrganizationToken(TokenRecord):
    """A token with which an organisation's system sends its payments."""

    __tablename__ = "organization_tokens"
    __table_args__ = (Index("ix_organization_tokens_pending", "pending"),)

    subject_id: Mapped[str] = mapped_column("organization_id", ForeignKey("organizations.id"), index=True)


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
    """One file in the wide sense of `producers.contracts.FileState`: how far it is, what it brought.

    A request to `POST /v1/payments` belongs to no run, and to no dataset unless it named one.
    """

    __tablename__ = "run_files"
    __table_args__ = (
        UniqueConstraint("dataset_id", "ref_hash"),
        Index("ix_run_files_claimed_at", "claimed_at", "id"),
        Index("ix_run_files_ref_hash", "ref_hash"),
    )

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"), index=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    organization_id: Mapped[str | None] = mapped_column(ForeignKey("organizations.id"), index=True)
    """Of a request; of anything else it is the dataset's."""
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


class DatasetPoll(Base):
    """What pollers remember of a dataset, and which of them deals with it now."""

    __tablename__ = "dataset_polls"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    holder: Mapped[str | None] = mapped_column(String(40))
    """Names the poller that deals with it; empty when none does."""
    held_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scheduled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its latest scheduled run began."""
    failures: Mapped[int] = mapped_column(Integer, default=0)
    """Runs that failed one after the other."""
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


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


class Upload(Base):
    """An uploaded file: where it is kept until its rows are in the topic, and how far that is.

    Its counts are those of its run, which has this one file.
    """

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads_state_spool", "state", "spool"),)

    number: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), unique=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    organization_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    uploaded_by: Mapped[str] = mapped_column(String(60))
    """Id of the user."""
    file_name: Mapped[str] = mapped_column(String(200))
    columns: Mapped[list[str]] = mapped_column(Json)
    """The columns of its header, by canonical names: those of the error report."""
    content_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 in hex of the file."""
    spool: Mapped[str] = mapped_column(String(40))
    """Id of the directory that has the file."""
    sealed_key: Mapped[str] = mapped_column(Text)
    """What the file in the spool is encrypted with, itself sealed; empty when it is at an end."""
    state: Mapped[str] = mapped_column(String(20))
    error: Mapped[str | None] = mapped_column(String(60))
    """Reason code of a file-level error."""
    detail: Mapped[str | None] = mapped_column(Text)
    bytes_total: Mapped[int] = mapped_column(BigInteger)
    bytes_read: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_read: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now_ms)
    """When a process last said that it has the file."""
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
