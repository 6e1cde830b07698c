"""Alembic's entry: runs the migrations on the connection that `api.migrate` hands over."""

from alembic import context

from api import models, tables
from api.db import Base

_FILLED = (models, tables)  # importing them fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
