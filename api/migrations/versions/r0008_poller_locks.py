"""Who deals with a dataset, when it began by schedule, how often it failed; one dataset for each place."""

import sqlalchemy as sa
from alembic import op

from api.datasets.places import place_hash
from api.db import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_DATASETS = sa.table(
    "datasets",
    sa.column("id", sa.String),
    sa.column("number", sa.BigInteger),
    sa.column("source", sa.String),
    sa.column("archived", sa.Boolean),
    sa.column("location", sa.JSON),
    sa.column("place_hash", sa.String),
)


def upgrade() -> None:
    """Make the table with what the runs tell; of datasets that share a place the oldest has it."""
    op.create_table(
        "dataset_polls",
        sa.Column("dataset_id", sa.String(40), sa.ForeignKey("datasets.id"), primary_key=True),
        sa.Column("holder", sa.String(40), nullable=True),
        sa.Column("held_until", UtcDateTime(), nullable=True),
        sa.Column("scheduled_at", UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", UtcDateTime(), nullable=True),
    )
    op.execute(
        "INSERT INTO dataset_polls (dataset_id, scheduled_at, failures) "
        "SELECT dataset_id, max(created_at), 0 FROM runs WHERE \"trigger\" = 'schedule' GROUP BY dataset_id"
    )
    op.add_column("datasets", sa.Column("place_hash", sa.String(64), nullable=True))
    _find_places()
    op.create_index(
        "ix_datasets_place_hash",
        "datasets",
        ["place_hash"],
        unique=True,
        sqlite_where=sa.text("NOT archived"),
        postgresql_where=sa.text("NOT archived"),
    )


def _find_places() -> None:
    connection = op.get_bind()
    query = sa.select(_DATASETS).where(_DATASETS.c.source == "s3").order_by(_DATASETS.c.number)
    taken = set()
    for row in connection.execute(query).all():
        place = place_hash(row.location)
        if row.archived or place not in taken:
            change = sa.update(_DATASETS).where(_DATASETS.c.id == row.id)
            connection.execute(change.values(place_hash=place))
        if not row.archived:
            taken.add(place)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_datasets_place_hash", "datasets")
    op.drop_column("datasets", "place_hash")
    op.drop_table("dataset_polls")
