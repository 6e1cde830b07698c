"""chDB connections: a pool for queries and one for inserts, and the settings of a request on a connection.

chDB runs one statement at a time on a connection. Behind a single one a small query waited 6 s for a heavy
one; with a pool it takes 0.01 s. Inserts have connections of their own, so that queries cannot hold them up.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import chdb
from chdb.state.sqlitelike import Connection

from sunledger.embedded.chserver.errors import ClickHouseError

QUERY_CONNECTIONS = 12
INSERT_CONNECTIONS = 3
_DEFAULT_DATABASE = "default"
# Unknown setting, read-only mode, unknown database, bad value: `enter` may have stopped half way.
_SETTING_ERRORS = frozenset({36, 27, 6, 72, 81, 115, 164, 452})

T = TypeVar("T")


class Session:
    """One connection, used by one request at a time. Every method blocks: call them by `Pool.run`."""

    def __init__(self, path: Path) -> None:
        self.connection: Connection = chdb.connect(str(path))
        # How `Pool.kill` finds what runs here: a name for each statement would cost a SET for each.
        self._mark = secrets.token_hex(8)
        self._database = _DEFAULT_DATABASE
        self._settings: dict[str, str] = {}
        self._changed_by_statement = False

    def enter(self, database: str, settings: Mapping[str, str]) -> None:
        """Apply the database and settings of a request, taking back those of the request before.

        Raises an engine error on an unknown database or setting; the session must then be closed.
        """
        database = database or _DEFAULT_DATABASE
        if database != self._database:
            self.connection.query(f"USE {_quoted(database, '`')}")
            self._database = database
        wanted = {**settings, "log_comment": self._mark}
        changes = {name: "DEFAULT" for name in self._settings if name not in wanted}
        changes |= {
            _name(name): _quoted(value) for name, value in wanted.items() if self._settings.get(name) != value
        }
        # One statement for all, and none when nothing changes: a SET costs as much as a small query.
        if changes:
            self.connection.query("SET " + ", ".join(f"{name} = {text}" for name, text in changes.items()))
        self._settings = wanted

    def run(self, query: str, word: str, output: str, params: Mapping[str, str]) -> Any:
        """Execute a statement that begins with `word`; what a `SET` or `USE` does ends with its request."""
        self._changed_by_statement = self._changed_by_statement or word in ("SET", "USE")
        return self.connection.query(query, output, params=dict(params))

    @property
    def kill_statement(self) -> str:
        """What stops the statement that runs here, said on another connection."""
        return f"KILL QUERY WHERE Settings['log_comment'] = {_quoted(self._mark)} ASYNC"

    @property
    def is_reusable(self) -> bool:
        """Whether all settings in force are known and can be taken back: `readonly` forbids that itself."""
        return "readonly" not in self._settings and not self._changed_by_statement

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


class Pool:
    """Sessions over one data folder, opened as needed and kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free: dict[bool, list[Session]] = {False: [], True: []}
        self._permits = {
            False: asyncio.Semaphore(QUERY_CONNECTIONS),
            True: asyncio.Semaphore(INSERT_CONNECTIONS),
        }
        self._threads = ThreadPoolExecutor(QUERY_CONNECTIONS + INSERT_CONNECTIONS + 2, "chdb")
        # While one connection stays open the engine stays loaded with its tables.
        self._anchor = Session(path)

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run blocking `work` in a thread; engine errors become ClickHouseError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args))
        except (chdb.ChdbError, RuntimeError) as error:
            raise ClickHouseError.of(error) from None

    @asynccontextmanager
    async def session(self, *, insert: bool) -> AsyncIterator[Session]:
        """A session for one request; waits while all are busy. Call its `enter` before anything else."""
        async with self._permits[insert]:
            free = self._free[insert]
            session = free.pop() if free else await self.run(Session, self._path)
            try:
                yield session
            except BaseException as error:
                # An engine error in a statement is harmless; after anything else the state is not known.
                known = isinstance(error, ClickHouseError) and error.code not in _SETTING_ERRORS
                if known and session.is_reusable:
                    free.append(session)
                else:
                    # Shielded: a client that goes away must not leave a connection open.
                    await asyncio.shield(self.run(session.close))
                raise
            if session.is_reusable:
                free.append(session)
            else:
                await asyncio.shield(self.run(session.close))

    async def kill(self, session: Session) -> None:
        """Stop the statement that runs on a session; nothing happens when there is none."""
        await self.run(lambda: self._anchor.connection.query(session.kill_statement))

    def close(self) -> None:
        """Close every connection that is not in use."""
        for session in [*self._free[False], *self._free[True], self._anchor]:
            session.close()


def _name(name: str) -> str:
    if not name.replace("_", "").isalnum() or not name.isascii():
        raise ClickHouseError.make(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
    return name


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark
