"""What a statement is: an insert with data behind it, a query with a result, or a command without one."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Formats whose chunks can be sent one after the other: no header that would repeat, no footer.
STREAMABLE = frozenset(
    {"Native", "RowBinary", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONEachRow"}
)
_WITH_RESULT = frozenset(
    {
        "SELECT",
        "WITH",
        "SHOW",
        "DESCRIBE",
        "DESC",
        "EXPLAIN",
        "EXISTS",
        "CHECK",
        "KILL",
        "(",
        "FROM",
        "TABLE",
        "VALUES",
    }
)
_READ_ONLY = _WITH_RESULT - {"KILL"}
# chDB streams nothing but these.
_STREAMABLE_WORDS = frozenset({"SELECT", "WITH", "("})

_FILE_NAMES = frozenset(
    {
        b"FILE", b"FILECLUSTER", b"FILESYSTEM", b"URL", b"URLCLUSTER", b"SQLITE", b"EXECUTABLE", b"PYTHON",
        b"ICEBERGLOCAL", b"DELTALAKELOCAL", b"PAIMONLOCAL",
    }
)  # fmt: skip
"""Functions and engines that open files of the server's machine, or objects of its process; `url` does so for
addresses `file:`."""
_BEFORE_TABLES = frozenset({b"FROM", b"JOIN", b"INTO", b"TABLE"})
_AFTER_TABLES = frozenset(
    {
        b"SELECT", b"WHERE", b"PREWHERE", b"GROUP", b"HAVING", b"WINDOW", b"QUALIFY", b"ORDER", b"LIMIT",
        b"OFFSET", b"SETTINGS", b"FORMAT", b"UNION", b"EXCEPT", b"INTERSECT", b"VALUES",
    }
)  # fmt: skip
"""Words that end the list of tables which FROM begins."""

_SPACE = re.compile(rb"(?:\s+|--[^\n]*(?:\n|$)|#[ !][^\n]*(?:\n|$)|/\*.*?\*/)+", re.DOTALL)
_TOKEN = re.compile(
    rb"""\$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*` | \w+ | . """,
    re.VERBOSE | re.DOTALL,
)
_FORMAT_AT_END = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\s[^()]*)?[;\s]*$", re.IGNORECASE)
_TAIL = 2000


@dataclass(frozen=True)
class Insert:
    """An INSERT whose rows follow it: `sql` ends before FORMAT, `data_start` is where the rows begin."""

    sql: str
    format: str
    data_start: int
    settings_at: int | None = None
    """Where in `sql` its SETTINGS clause begins, in characters."""

    def from_file(self, path: str) -> str:
        """The same insert with its rows in a file; the file comes before the settings."""
        at = len(self.sql) if self.settings_at is None else self.settings_at
        quoted = path.replace("\\", "\\\\").replace("'", "\\'")
        source = f"FROM INFILE '{quoted}' COMPRESSION 'none'"
        return f"{self.sql[:at]} {source} {self.sql[at:]} FORMAT {self.format}"


def keyword(text: bytes) -> str:
    """The first word of a statement, in capitals, comments skipped."""
    start = _skip(text, 0)
    found = _TOKEN.match(text, start)
    return found.group().decode("utf-8", "replace").upper() if found else ""


def has_result(word: str) -> bool:
    """Whether a statement that begins with `word` answers with rows."""
    return word in _WITH_RESULT


def can_stream(word: str, output: str) -> bool:
    """Whether the result of a statement can be sent chunk by chunk."""
    return word in _STREAMABLE_WORDS and output in STREAMABLE


def is_read_only(word: str) -> bool:
    """Whether a statement that begins with `word` may be sent by GET."""
    return word in _READ_ONLY


def result_format(sql: str, default: str) -> str:
    """The output format: the FORMAT clause at the end, else `default`."""
    found = _FORMAT_AT_END.search(sql[-_TAIL:])
    return found.group(1) if found else default


def parse_insert(text: bytes) -> Insert | None:
    """Find where the rows of an INSERT begin; None for INSERT ... SELECT and FROM INFILE, which have none.

    `text` may be cut anywhere behind the FORMAT or VALUES clause.
    """
    position, depth = 0, 0
    previous = b""
    settings_at: int | None = None
    while position < len(text):
        position = _skip(text, position)
        found = _TOKEN.match(text, position)
        if found is None:
            return None
        token = found.group()
        start, position = position, found.end()
        if token in (b"(", b"["):
            depth += 1
        elif token in (b")", b"]"):
            depth -= 1
        elif depth == 0 and previous != b".":
            word = token.upper()
            if word == b"VALUES":
                return Insert(text[:start].decode(), "Values", position, settings_at)
            if word == b"FORMAT":
                return _with_format(text, start, position, settings_at)
            if word == b"SETTINGS":
                settings_at = len(text[:start].decode())
            if word in (b"SELECT", b"WITH", b"INFILE", b"WATCH", b";"):
                return None
        previous = token
    return None


def refusal(text: bytes) -> str | None:
    """Why a real server would not run this over HTTP; None when it would.

    chDB runs several statements at once and reads and writes any file of its process: through functions and
    table engines, whose names may be quoted, and through a text where a table is expected.
    """
    position, before, naming = 0, b"", b""
    ended = False
    tables = [False]  # for each open bracket: whether its list of tables goes on
    while position < len(text):
        position = _skip(text, position)
        found = _TOKEN.match(text, position)
        if found is None:
            break
        token, position = found.group(), found.end()
        if ended and token != b";":
            return "Multi-statements are not allowed"
        ended = ended or token == b";"
        refused = _refused(b"FROM" if before == b"," and tables[-1] else before, token)
        if refused is not None:
            return refused
        # the name of a function or an engine may be quoted
        word = token.strip(b'`"').upper()
        if (naming, before) == (b"ENGINE", b"=") and word in _FILE_NAMES:
            return f"The embedded server reads no files: the engine {word.decode().lower()} is not allowed"
        _follow(word, tables)
        naming, before = before, word
    return None


def _follow(word: bytes, tables: list[bool]) -> None:
    """Keep count of brackets, and of the list of tables in the innermost one."""
    if word == b"(":
        tables.append(False)
    elif word == b")" and len(tables) > 1:
        tables.pop()
    elif word == b"FROM":
        tables[-1] = True
    elif word in _AFTER_TABLES:
        tables[-1] = False


def _refused(before: bytes, token: bytes) -> str | None:
    """Why a token may not follow another one, which is in capitals."""
    word = token.upper()
    if (before, word) == (b"INTO", b"OUTFILE"):
        return "INTO OUTFILE is not allowed"
    if (before, word) == (b"FROM", b"INFILE"):
        return "FROM INFILE is not allowed"
    if token[:1] in (b"`", b'"') and b"\\" in token:
        return "The embedded server reads no files: escapes in quoted names are not allowed"
    named_file = token[:1] in (b"'", b"$") or (token[:1] in (b"`", b'"') and b"/" in token)
    if before in _BEFORE_TABLES and named_file:
        return "The embedded server reads no files: a text in place of a table is not allowed"
    if before in _FILE_NAMES and token == b"(":
        return f"The embedded server reads no files: the function {before.decode().lower()} is not allowed"
    return None


def _with_format(text: bytes, start: int, position: int, settings_at: int | None) -> Insert | None:
    name = _TOKEN.match(text, _skip(text, position))
    if name is None:
        return None
    end = name.end()
    # One separator belongs to the statement; in a binary format the byte after it is already data.
    if text[end : end + 1] == b";":
        end += 1
    while text[end : end + 1] in (b" ", b"\t", b"\r"):
        end += 1
    if text[end : end + 1] == b"\n":
        end += 1
    return Insert(text[:start].decode(), name.group().decode(), end, settings_at)


def _skip(text: bytes, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
