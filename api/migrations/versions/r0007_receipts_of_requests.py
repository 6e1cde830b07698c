"""Receipts by time and by reference."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INDEXES = {"ix_run_files_claimed_at": ["claimed_at", "id"], "ix_run_files_ref_hash": ["ref_hash"]}


def upgrade() -> None:
    """Make the indexes that lists of receipts, and a look at one, need."""
    for name, columns in _INDEXES.items():
        op.create_index(name, "run_files", columns)


def downgrade() -> None:
    """Drop them."""
    for name in _INDEXES:
        op.drop_index(name, "run_files")
