"""What a dry run remembers of the rows it has seen: hashes, lines and content fields, in a temporary file.

SQLite holds them in a database without a name: it lives in a cache of fixed size, spills to a temporary file
that nobody else can open, and is gone when it is closed. So a file of any length takes the same memory.
Personal fields are not in it: they are no content, but for NOTES, which is a pseudonym by then.
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

from producers.dry_rows import ValidRows
from schemas.conflicts import LatestDecision
from schemas.fields import BY_NAME, CONTENT, CUSTOM
from schemas.versions import Version

CACHE_KIB: Final = 32 * 1024
_COLUMNS: Final = (*(BY_NAME[name].column for name in CONTENT), "currency_given", CUSTOM, "supplied")
"""What a comparison of two versions looks at."""
_TOP: Final = 1 << 63
_ALL: Final = 1 << 64


class Seen(NamedTuple):
    """One content of an identity that the file had before.

    Attributes:
        line: where it came first.
        spelling: it is no version: nothing that it supplied differs from one.
    """

    content: int
    line: int
    spelling: bool


class Memory:
    """Contents by identity. Not to be used by two threads at once."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False)
        for pragma in (f"cache_size = -{CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE seen (identity INT, content INT, line INT, spelling INT, fields BLOB)")
        self._db.execute("CREATE INDEX by_identity ON seen (identity)")
        self._db.execute("CREATE TABLE decided (identity INTEGER PRIMARY KEY, decision BLOB)")

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def add(self, rows: ValidRows, places: Collection[int], spellings: Collection[int]) -> None:
        """Remember the rows of a batch at these places; those at `spellings` are no versions."""
        columns = [rows.columns[name] for name in _COLUMNS]
        self._db.executemany(
            "INSERT INTO seen VALUES (?, ?, ?, ?, ?)",
            (
                (
                    _signed(rows.identities[at]),
                    _signed(rows.content[at]),
                    rows.lines[at],
                    at in spellings,
                    orjson.dumps([column[at] for column in columns], default=str),
                )
                for at in places
            ),
        )

    def seen(self, identities: Iterable[int]) -> dict[int, list[Seen]]:
        """What is remembered of these identities, in the order of the file."""
        found: dict[int, list[Seen]] = {}
        for identity, content, line, spelling in self._rows("content, line, spelling", identities):
            found.setdefault(identity % _ALL, []).append(Seen(content % _ALL, line, bool(spelling)))
        return found

    def versions(self, identities: Iterable[int]) -> dict[int, list[Version]]:
        """The versions of these identities with the fields to compare, in the order of the file."""
        found: dict[int, list[Version]] = {}
        for identity, content, line, fields in self._rows(
            "content, line, fields", identities, "NOT spelling"
        ):
            values: Mapping[str, Any] = dict(zip(_COLUMNS, orjson.loads(fields), strict=True))
            found.setdefault(identity % _ALL, []).append(Version(content % _ALL, line, values))
        return found

    def decide(self, identity: int, decision: LatestDecision) -> None:
        """Remember what the rule has decided about an identity."""
        self._db.execute(
            "INSERT OR REPLACE INTO decided VALUES (?, ?)", (_signed(identity), orjson.dumps([*decision]))
        )

    def decisions(self, identities: Iterable[int]) -> dict[int, LatestDecision]:
        """The latest decision about each of these identities that has one."""
        rows = self._db.execute(
            "SELECT identity, decision FROM decided WHERE identity IN (SELECT value FROM json_each(?))",
            (_listed(identities),),
        )
        return {identity % _ALL: LatestDecision(*orjson.loads(decision)) for identity, decision in rows}

    def _rows(
        self, columns: str, identities: Iterable[int], condition: str = "true"
    ) -> "Iterable[tuple[Any, ...]]":
        # the CROSS JOIN keeps SQLite from reading all that is remembered for a few identities
        return self._db.execute(
            f"SELECT identity, {columns} FROM json_each(?) AS wanted CROSS JOIN seen"
            f" ON identity = wanted.value WHERE {condition} ORDER BY seen.rowid",
            (_listed(identities),),
        )


def _signed(number: int) -> int:
    """64 bits as SQLite holds them; `% 2**64` undoes it."""
    return number - _ALL if number >= _TOP else number


def _listed(identities: Iterable[int]) -> str:
    return orjson.dumps([_signed(identity) for identity in set(identities)]).decode()
