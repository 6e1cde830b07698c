"""The registry, credentials, runs and the outbox."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.db import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "organizations", "projects", "devices", "connections", "datasets", "users", "device_tokens",
    "runs", "run_files", "reports", "outbox", "leases",
)  # fmt: skip
_ID = sa.String(40)
_INTEGER_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _column(name: str, kind: Any, *, null: bool = False, to: str | None = None) -> sa.Column[Any]:
    reference = [sa.ForeignKey(f"{to}.id")] if to else []
    return sa.Column(name, kind, *reference, nullable=null)


def _key(name: str) -> sa.Column[Any]:
    return sa.Column(name, _INTEGER_KEY, primary_key=True, autoincrement=True)


def _registered(table: str, *rest: Any) -> None:
    """A registry table: what all of them share, then its own columns."""
    op.create_table(
        table,
        _key("number"),
        sa.Column("id", _ID, nullable=False, unique=True),
        _column("version", sa.BigInteger()),
        _column("changed_at", UtcDateTime()),
        _column("created_at", UtcDateTime()),
        _column("archived", sa.Boolean()),
        *rest,
    )


def _index(table: str, *columns: str, name: str | None = None) -> None:
    op.create_index(name or op.f(f"ix_{table}_{columns[0]}"), table, list(columns))


def upgrade() -> None:
    """Apply."""
    _organizations_and_projects()
    _devices_and_connections()
    _datasets()
    _credentials()
    _runs()
    _outbox()


def downgrade() -> None:
    """Take back."""
    for table in reversed(_TABLES):
        op.drop_table(table)


def _organizations_and_projects() -> None:
    _registered("organizations", _column("name", sa.String(300)))
    _registered(
        "projects",
        _column("organization_id", _ID, to="organizations"),
        _column("name", sa.String(300)),
        _column("country", sa.String(2)),
        _column("programme_ids", _JSON),
    )
    _index("projects", "organization_id")


def _devices_and_connections() -> None:
    _registered(
        "devices",
        _column("organization_id", _ID, to="organizations"),
        _column("project_id", _ID, to="projects"),
        _column("external_id", sa.String(200)),
        _column("manufacturer", sa.String(200)),
        _column("serial_number", sa.String(200)),
        _column("capacity_kw", sa.Double(), null=True),
        _column("commissioned_on", sa.Date(), null=True),
        _column("onboarded_at", UtcDateTime(), null=True),
        sa.UniqueConstraint("organization_id", "external_id"),
    )
    _index("devices", "project_id")
    _registered(
        "connections",
        _column("organization_id", _ID, to="organizations"),
        _column("project_id", _ID, to="projects"),
        _column("external_id", sa.String(200)),
        _column("customer_external_id", sa.String(200), null=True),
        _column("device_id", _ID, null=True, to="devices"),
        _column("valid_from", UtcDateTime(), null=True),
        _column("valid_to", UtcDateTime(), null=True),
        sa.UniqueConstraint("project_id", "external_id"),
    )
    for column in ("organization_id", "external_id", "device_id"):
        _index("connections", column)


def _datasets() -> None:
    _registered(
        "datasets",
        _column("organization_id", _ID, to="organizations"),
        _column("name", sa.String(300)),
        _column("provider", sa.String(100)),
        _column("source", sa.String(20)),
        _column("type", sa.String(40)),
        _column("target", sa.String(20)),
        _column("project_ids", _JSON),
        _column("programme_id", sa.String(100), null=True),
        _column("id_namespace", sa.String(100)),
        _column("conflict_rule", _JSON),
        _column("default_currency", sa.String(3), null=True),
        _column("schedule", sa.String(20)),
        _column("state", sa.String(20)),
        _column("location", _JSON),
        _column("sealed_credentials", sa.Text()),
    )
    _index("datasets", "organization_id")


def _credentials() -> None:
    op.create_table(
        "users",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("email", sa.String(320), nullable=False, unique=True),
        _column("password_hash", sa.String(300)),
        _column("role", sa.String(20)),
        _column("active", sa.Boolean()),
        _column("created_at", UtcDateTime()),
    )
    op.create_table(
        "device_tokens",
        sa.Column("jti", _ID, primary_key=True),
        _column("device_id", _ID, to="devices"),
        _column("issued_at", UtcDateTime()),
        _column("expires_at", UtcDateTime()),
        _column("revoked_at", UtcDateTime(), null=True),
        _column("pending", sa.Boolean()),
    )
    _index("device_tokens", "device_id")
    _index("device_tokens", "pending")


def _runs() -> None:
    op.create_table(
        "runs",
        _key("number"),
        sa.Column("id", _ID, nullable=False, unique=True),
        _column("dataset_id", _ID, to="datasets"),
        _column("trigger", sa.String(20)),
        _column("state", sa.String(20)),
        _column("detail", sa.Text(), null=True),
        _column("created_at", UtcDateTime()),
        _column("started_at", UtcDateTime(), null=True),
        _column("finished_at", UtcDateTime(), null=True),
    )
    _index("runs", "dataset_id")
    _index("runs", "state", "number", name="ix_runs_state_number")
    op.create_table(
        "run_files",
        _key("number"),
        sa.Column("id", _ID, nullable=False, unique=True),
        _column("run_id", _ID, to="runs"),
        _column("dataset_id", _ID, to="datasets"),
        _column("source_ref", sa.Text()),
        _column("ref_hash", sa.String(64)),
        _column("state", sa.String(20)),
        _column("claimed_at", UtcDateTime()),
        _column("destination", sa.Text(), null=True),
        _column("received", sa.BigInteger()),
        _column("error", sa.Text(), null=True),
        sa.UniqueConstraint("dataset_id", "ref_hash"),
    )
    _index("run_files", "run_id")
    op.create_table(
        "reports",
        _key("number"),
        _column("dataset_id", _ID, to="datasets"),
        _column("what", sa.Text()),
        _column("what_hash", sa.String(64)),
        _column("reported_at", UtcDateTime()),
        sa.UniqueConstraint("dataset_id", "what_hash"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        _key("seq"),
        _column("kind", sa.String(20)),
        _column("object_id", _ID),
        _column("version", sa.BigInteger()),
        _column("payload", sa.Text()),
        _column("state", sa.String(10)),
        _column("created_at", UtcDateTime()),
        _column("sent_at", UtcDateTime(), null=True),
    )
    _index("outbox", "object_id")
    _index("outbox", "state", "seq", name="ix_outbox_state_seq")
    op.create_table(
        "leases",
        sa.Column("name", sa.String(50), primary_key=True),
        _column("owner", sa.String(60)),
        _column("until", UtcDateTime()),
    )
