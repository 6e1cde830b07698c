"""The Alembic revisions make what the models say."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_mock_engine, inspect, select
from sqlalchemy.schema import CreateTable

from api import migrate, models, tables
from api.auth.service import ensure_admin
from api.db import Base, Database, make_engine


def test_migrations_and_models_agree(tmp_path: Path) -> None:
    """A migrated database has exactly the tables, columns and constraints of the models."""
    url = f"sqlite:///{tmp_path}/x.db"
    migrate.upgrade(url)
    engine = make_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert {"organizations", "outbox"} <= set(inspect(engine).get_table_names())
    engine.dispose()


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    """Starting processes that all upgrade do not get in each other's way."""
    url = f"sqlite:///{tmp_path}/x.db"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [url] * 4))


def test_migrations_can_be_taken_back(tmp_path: Path) -> None:
    """Down to nothing and up again."""
    url = f"sqlite:///{tmp_path}/x.db"
    migrate.upgrade(url)
    migrate.downgrade(url, "base")
    engine = make_engine(url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()
    migrate.upgrade(url)


def test_tables_compile_for_postgresql() -> None:
    """Every table has a form on PostgreSQL, with its time zones and JSONB."""
    assert models.KINDS
    assert tables.OutboxRow
    engine = create_mock_engine("postgresql+psycopg://", lambda *_args, **_kwargs: None)
    text = "".join(
        str(CreateTable(table).compile(dialect=engine.dialect)) for table in Base.metadata.sorted_tables
    )
    assert "JSONB" in text
    assert "TIMESTAMP WITH TIME ZONE" in text


def test_the_first_admin_is_made_once(tmp_path: Path) -> None:
    """Several starting processes make one admin; a later start changes neither him nor his password."""
    url = f"sqlite:///{tmp_path}/x.db"
    migrate.upgrade(url)
    db = Database(url)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _n: ensure_admin(db, "A@b.example", "one"), range(3)))
    ensure_admin(db, "a@B.example", "two")
    with db.read() as session:
        (user,) = session.scalars(select(tables.User)).all()
    assert user.email == "a@b.example"
    db.close()
