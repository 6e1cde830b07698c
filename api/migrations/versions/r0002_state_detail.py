"""Why a dataset was paused."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; datasets of before have no reason."""
    op.add_column("datasets", sa.Column("state_detail", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("datasets", "state_detail")
