"""What receipts tell of a file, and the fields that a dataset requires."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; every file of before came from a bucket."""
    op.add_column("run_files", sa.Column("source", sa.String(20), nullable=False, server_default="s3"))
    op.add_column("run_files", sa.Column("finished_at", UtcDateTime(), nullable=True))
    op.add_column("run_files", sa.Column("detail", sa.Text(), nullable=True))
    op.add_column("run_files", sa.Column("content_hash", sa.String(64), nullable=True))
    op.add_column("datasets", sa.Column("required_fields", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("datasets", "required_fields")
    for name in ("content_hash", "detail", "finished_at", "source"):
        op.drop_column("run_files", name)
