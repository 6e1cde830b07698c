"""Brings the SQL database to the newest form: Alembic revisions, applied under a lock."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from api.db import WRITE, make_engine

_LOCK: Final = 5_382_701


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, made in code so that it works from an installed package."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Apply what is missing, in one transaction. Safe to call from several processes at once."""
    engine = make_engine(url)
    try:
        with engine.execution_options(**{WRITE: True}).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            command.upgrade(config(connection), revision)
    finally:
        engine.dispose()


def downgrade(url: str, revision: str) -> None:
    """Take revisions back, for tests and for undoing a release."""
    engine = make_engine(url)
    try:
        with engine.execution_options(**{WRITE: True}).begin() as connection:
            command.downgrade(config(connection), revision)
    finally:
        engine.dispose()
