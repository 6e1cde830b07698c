"""The SQL database: engine, transactions, and the few column types that SQLite and PostgreSQL share."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Engine, MetaData, create_engine, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

WRITE = "sunledger_write"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in aware UTC with milliseconds; naive values are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; SQLite keeps no zone, so it gets the naive form."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def now_ms() -> datetime:
    """This moment in aware UTC, cut to milliseconds (what messages and JSON carry)."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def iso_ms(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def driver_url(url: str) -> str:
    """The URL with our PostgreSQL driver named: `postgresql://…` means psycopg 3."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url


def make_engine(url: str, *, patience_s: float | None = None) -> Engine:
    """An engine whose errors never print parameters; SQLite in WAL mode with foreign keys on.

    Write transactions of SQLite begin IMMEDIATE: a lock taken late cannot be waited for.

    Args:
        patience_s: longest time for a statement on PostgreSQL; None for migrations.
    """
    url = driver_url(url)
    if not url.startswith("sqlite"):
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=20,
            pool_timeout=5,
            connect_args=_postgres_arguments(patience_s),
        )
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=10,
        max_overflow=40,
        pool_timeout=5,
        connect_args={"timeout": 10},
    )
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _postgres_arguments(patience_s: float | None) -> dict[str, Any]:
    """Limits for a server that hangs: without them its silence would hold a worker thread for ever."""
    if patience_s is None:
        return {"connect_timeout": 3}
    limit_ms = int(patience_s * 1000)
    options = f"-c statement_timeout={limit_ms} -c lock_timeout={limit_ms}"
    return {"connect_timeout": 3, "tcp_user_timeout": limit_ms, "options": options}


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


class Database:
    """Transactions on one engine. Synchronous: the API calls it from worker threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url, patience_s=5)
        self._writer = self.engine.execution_options(**{WRITE: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading; rolled back at the end."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed together at the end, or not at all."""
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def ping(self) -> None:
        """Return when the database answers (OperationalError if not)."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Return all connections."""
        self.engine.dispose()


def violates(error: IntegrityError, *names: str) -> bool:
    """Whether a unique constraint was broken: PostgreSQL names it, SQLite names `table.column`s."""
    told = str(error.orig)
    return any(name in told for name in names)
