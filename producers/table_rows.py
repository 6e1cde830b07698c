"""Rows of tables, as every channel reads them: those that were read, and those that could not be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, overload

from producers.header import Header
from schemas.fields import CUSTOM
from schemas.outcomes import Code

MAX_RAW_CHARS: Final = 16 * 1024
"""How much of an unreadable record is kept, in characters."""


class TableRow(NamedTuple):
    """A row that was read: cells by canonical field name, unknown columns under `custom`, no empty cells.

    `line` is the physical line on which the row begins, counted from 1 with the header.
    """

    line: int
    cells: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that could not be read; it is received all the same and ends quarantined.

    `raw` is its text (cut if long; bytes that are no UTF-8 as surrogate escapes); `detail` says why
    without any of it.
    """

    line: int
    raw: str
    code: Code
    detail: str


Row = TableRow | UnreadableRow
"""A received row."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a file as a whole, with nothing of what is in it."""

    code: str
    detail: str


class Block(NamedTuple):
    """Records with as many cells as the header, or more that are empty.

    Attributes:
        lines: where they begin.
        cells: texts of each.
        plain: known to have no text that has to be escaped in JSON.
    """

    lines: Sequence[int]
    cells: Sequence[Sequence[str]]
    plain: bool = False


class ColumnRows(Sequence[Row]):
    """Rows that were read, as the columns of their texts: most are only passed on, and columns are faster.

    Whoever wants a row as a dict gets it when he asks.

    Attributes:
        header: which column is which field.
        lines: where the rows begin.
        columns: texts by column, as many columns as the header has. Every row has some text.
        plain: see `Block`.
    """

    def __init__(
        self, header: Header, lines: Sequence[int], columns: Sequence[Sequence[str]], plain: bool = False
    ) -> None:
        self.header = header
        self.plain = plain
        self.lines = lines
        self.columns = columns

    def column(self, name: str) -> Sequence[str]:
        """Texts of one field; empty ones if there is no such column."""
        for own, known, column in zip(self.header.names, self.header.known, self.columns, strict=True):
            if known and own == name:
                return column
        return [""] * len(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> "ColumnRows": ...
    def __getitem__(self, at: int | slice) -> "Row | ColumnRows":
        if isinstance(at, slice):
            return ColumnRows(
                self.header, self.lines[at], [column[at] for column in self.columns], self.plain
            )
        found: dict[str, Any] = {}
        custom: dict[str, str] = {}
        for name, known, column in zip(self.header.names, self.header.known, self.columns, strict=True):
            if text := column[at]:
                (found if known else custom)[name] = text
        if custom:
            found[CUSTOM] = custom
        return TableRow(self.lines[at], found)


def lines_of(rows: Sequence[Row]) -> Sequence[int]:
    """Where some rows begin."""
    return rows.lines if isinstance(rows, ColumnRows) else [row.line for row in rows]
