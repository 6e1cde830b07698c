"""Organisation tokens, and receipts of requests: files without a run, some without a dataset."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.String(40)


def upgrade() -> None:
    """Make the table; loosen what a request has not."""
    op.create_table(
        "organization_tokens",
        sa.Column("jti", _ID, primary_key=True),
        sa.Column("organization_id", _ID, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.Column("pending", sa.Boolean(), nullable=False),
    )
    for name in ("organization_id", "pending"):
        op.create_index(f"ix_organization_tokens_{name}", "organization_tokens", [name])
    with op.batch_alter_table("run_files") as table:
        table.alter_column("run_id", existing_type=_ID, nullable=True)
        table.alter_column("dataset_id", existing_type=_ID, nullable=True)
        table.add_column(sa.Column("organization_id", _ID, nullable=True))
        table.create_foreign_key("fk_run_files_organization_id", "organizations", ["organization_id"], ["id"])
        table.create_index("ix_run_files_organization_id", ["organization_id"])


def downgrade() -> None:
    """Drop them; receipts of requests go with them."""
    op.execute("DELETE FROM run_files WHERE run_id IS NULL OR dataset_id IS NULL")
    with op.batch_alter_table("run_files") as table:
        table.drop_index("ix_run_files_organization_id")
        table.drop_constraint("fk_run_files_organization_id", type_="foreignkey")
        table.drop_column("organization_id")
        table.alter_column("dataset_id", existing_type=_ID, nullable=False)
        table.alter_column("run_id", existing_type=_ID, nullable=False)
    op.drop_table("organization_tokens")
