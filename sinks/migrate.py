"""Apply the numbered DDL files that a database does not have yet.

Safe when two processes start at once: every statement may run twice (IF NOT EXISTS, OR REPLACE), and a
file recorded twice with the same hash counts once.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from sinks.known_views import with_present

DDL_FOLDER: Final = Path(__file__).parent / "ddl"

_MIGRATIONS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS {database}.schema_migrations
(
    name String COMMENT 'File name of the migration',
    sha256 FixedString(64) COMMENT 'SHA-256 of the file, hex digits',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was applied, UTC, milliseconds'
)
ENGINE = MergeTree
ORDER BY name
SETTINGS fsync_after_insert = 1
COMMENT 'Numbered DDL files applied to this database'
"""


class ChangedMigrationError(Exception):
    """A file that was applied to this database has other content now; write a new file instead."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: its name, its text and the SHA-256 of the text."""

    name: str
    text: str
    sha256: str

    def statements(self, database: str) -> list[str]:
        """The statements of the file, for one database. A line that ends in `;` ends a statement.

        A statement that makes a view `…_as_known` makes the view of all that is known as well.
        """
        parts = [part.strip() for part in self.text.split(";\n") if part.strip()]
        found = [statement for part in parts for statement in with_present(part)]
        return [statement.replace("{database}", quoted(database)) for statement in found]


def quoted(identifier: str) -> str:
    """An identifier in backticks, safe in a statement."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def migrations(folder: Path = DDL_FOLDER) -> list[Migration]:
    """All numbered files of a folder, in order of their names."""
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    texts = [(file.name, file.read_text(encoding="utf-8")) for file in files]
    return [Migration(name, text, hashlib.sha256(text.encode()).hexdigest()) for name, text in texts]


def migrate(client: Client, database: str, folder: Path = DDL_FOLDER) -> list[str]:
    """Create the database if it is missing and apply the missing files; returns the names applied now.

    The client must not be bound to the database yet, since a server refuses sessions on a missing one. A
    database that has everything is only read: a user without rights to change tables may call this.

    Raises:
        ChangedMigrationError: a file that was applied before has changed; nothing was applied.
    """
    if not _is_begun(client, database):
        client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(database)}")
        client.command(_MIGRATIONS_TABLE.replace("{database}", quoted(database)))
    applied = applied_migrations(client, database)
    found = migrations(folder)
    changed = [m.name for m in found if applied.get(m.name, m.sha256) != m.sha256]
    if changed:
        raise ChangedMigrationError(f"changed after it was applied: {', '.join(changed)}")
    done: list[Migration] = []
    try:
        for migration in (m for m in found if m.name not in applied):
            for statement in migration.statements(database):
                client.command(statement)
            done.append(migration)
    finally:
        if done:
            rows = [(m.name, m.sha256) for m in done]
            client.insert("schema_migrations", rows, ["name", "sha256"], database=database)
    return [m.name for m in done]


def _is_begun(client: Client, database: str) -> bool:
    """Whether the database has its list of applied files."""
    found = client.query(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'",
        parameters={"database": database},
    )
    return bool(found.result_rows[0][0])


def applied_migrations(client: Client, database: str) -> dict[str, str]:
    """Name and SHA-256 of the files applied to a database."""
    rows = client.query(
        f"SELECT name, toString(sha256) FROM {quoted(database)}.schema_migrations ORDER BY applied_at"
    ).result_rows
    return dict(rows)
