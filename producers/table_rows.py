"""Rows of tables, as every channel reads them: those that were read, and those that could not be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, overload

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
    """Records with as many cells as the header, or more that are empty; `lines` are where they begin."""

    lines: Sequence[int]
    cells: Sequence[Sequence[str]]


class PlainRows(Sequence[Row]):
    """Rows of a file without unknown columns: made one by one, because most are only passed on.

    Attributes:
        names: canonical field name of each column.
        lines: where the rows begin.
        cells: texts of each row, by column.
    """

    def __init__(self, names: tuple[str, ...], lines: Sequence[int], cells: Sequence[Sequence[str]]) -> None:
        self.names = names
        self.lines = lines
        self.cells = cells

    def column(self, name: str) -> list[str]:
        """Texts of one column; empty ones if there is no such column."""
        at = self.names.index(name) if name in self.names else None
        return [""] * len(self.lines) if at is None else [cells[at] for cells in self.cells]

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> "PlainRows": ...
    def __getitem__(self, at: int | slice) -> "Row | PlainRows":
        if isinstance(at, slice):
            return PlainRows(self.names, self.lines[at], self.cells[at])
        found = {name: cell for name, cell in zip(self.names, self.cells[at], strict=False) if cell}
        return TableRow(self.lines[at], found)


def lines_of(rows: Sequence[Row]) -> Sequence[int]:
    """Where some rows begin."""
    return rows.lines if isinstance(rows, PlainRows) else [row.line for row in rows]
