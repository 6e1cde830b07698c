"""The audit, which can only be appended to, and claims on quarantined rows."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.db import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_INTEGER_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_POSTGRESQL = (
    "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$",
    "CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit"
    " FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()",
    "CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON audit"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()",
)
_SQLITE = tuple(
    f"CREATE TRIGGER audit_no_{deed.lower()} BEFORE {deed} ON audit"
    " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
    for deed in ("UPDATE", "DELETE")
)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audit",
        sa.Column("number", _INTEGER_KEY, primary_key=True, autoincrement=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.String(60), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("subject_kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("details", _JSON, nullable=False),
    )
    op.create_index("ix_audit_subject", "audit", ["subject_kind", "subject"])
    for column in ("user_id", "request_id"):
        op.create_index(op.f(f"ix_audit_{column}"), "audit", [column])
    op.create_table(
        "quarantine_claims",
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("position", sa.String(20), primary_key=True),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.String(40), nullable=False),
        sa.Column("claimed_at", UtcDateTime(), nullable=False),
    )
    op.create_index(op.f("ix_quarantine_claims_claimed_at"), "quarantine_claims", ["claimed_at"])
    for statement in _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    """Take back."""
    op.drop_table("quarantine_claims")
    op.drop_table("audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only()")
