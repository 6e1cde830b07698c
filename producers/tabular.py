"""The reader of tables: a CSV stream in, rows with their physical line numbers out, in constant memory.

One quote too many must neither end the reading nor hide the rows behind it: a record that cannot be
read is given up line by line until a line stands for a row again.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from producers.errors import FileRefused
from producers.header import Header, check_header, fold
from producers.text_lines import BinarySource, TextLines
from schemas.fields import ALIASES, CUSTOM, NAMES
from schemas.outcomes import Code

DELIMITERS: Final = (",", ";", "\t", "|")
MAX_RECORD_CHARS: Final = 128 * 1024
"""Longest record, in characters; a quoted cell may span lines up to this."""
MAX_RECORD_LINES: Final = 200
"""Most physical lines of a record."""
MAX_RAW_CHARS: Final = 16 * 1024
"""How much of an unreadable record is kept, in characters."""
_FOLDED_NAMES: Final = frozenset(map(fold, (*NAMES, *ALIASES)))


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row that was read: cells by canonical field name, unknown columns under `custom`, no empty cells.

    `line` is the physical line on which the row begins, counted from 1 with the header.
    """

    line: int
    cells: dict[str, str | dict[str, str]]


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
ROWS_AT_ONCE: Final = 500
"""Rows of a batch."""


class _RecordTooLong(Exception):
    """The record in hand exceeds a limit."""


class Table:
    """Rows of a CSV source. The header is read and checked at once, the rows as they are asked for.

    Raises:
        FileRefused: no usable header.
        KeyError: there is no such profile.
    """

    def __init__(self, source: BinarySource, profile: str) -> None:
        self._lines = TextLines(source)
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self._too_long = False
        first = self._first_line()
        self.delimiter = _sniff(first)
        self._reader = self._new_reader()
        self._again.append(first)
        self.header: Header = check_header(self._header_cells(), profile)

    def batches(self) -> Iterator[list[Row]]:
        """The rows in lists of at most `ROWS_AT_ONCE`."""
        rows = iter(self)
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            yield batch

    def __iter__(self) -> Iterator[Row]:
        width = len(self.header.names)
        while True:
            self._record = []
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error:
                yield self._give_up(Code.UNREADABLE_ROW, "the quotes do not match")
                continue
            except _RecordTooLong:
                yield self._give_up(Code.TOO_LARGE, "the row is longer than allowed")
                continue
            if len(cells) != width and not _fits(cells, width):
                if any(cells):
                    detail = f"{len(cells)} cells, the header has {width}"
                    yield self._give_up(Code.UNREADABLE_ROW, detail)
                continue
            if not self._is_text():
                yield self._give_up(Code.UNREADABLE_ROW, "bytes that are no text in the file's encoding")
                continue
            row = self._row(cells)
            if row.cells:
                yield row

    def _new_reader(self) -> "Iterator[list[str]]":
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        """Lines for the CSV parser, remembered as the record in hand."""
        chars = 0
        while True:
            line = self._next_line()
            if line is None:
                return
            chars = len(line) if not self._record else chars + len(line)
            self._record.append(line)
            if self._too_long or chars > MAX_RECORD_CHARS or len(self._record) > MAX_RECORD_LINES:
                raise _RecordTooLong
            yield line

    def _next_line(self) -> str | None:
        """The next physical line, one that was given back first; None at the end."""
        self._too_long = False
        if self._again:
            return self._again.popleft()
        line = next(self._lines, None)
        self._too_long = line is not None and self._lines.too_long
        return line

    @property
    def _line(self) -> int:
        """Number of the physical line on which the record in hand begins."""
        return self._lines.number - len(self._again) - len(self._record) + 1

    def _give_up(self, code: Code, detail: str) -> UnreadableRow:
        """Give the record in hand up as far as no line of it is a row; the rest is read again."""
        lines = self._record
        lost = next((at for at in range(1, len(lines)) if self._is_row(lines[at])), len(lines))
        row = UnreadableRow(self._line, "".join(lines[:lost])[:MAX_RAW_CHARS], code, detail)
        self._again.extendleft(reversed(lines[lost:]))
        self._reader = self._new_reader()
        return row

    def _is_row(self, line: str) -> bool:
        """Whether a line is a row by itself."""
        try:
            cells = next(csv.reader([line], delimiter=self.delimiter, strict=True), [])
        except csv.Error:
            return False
        return len(self.header.names) > 1 and _fits(cells, len(self.header.names))

    def _is_text(self) -> bool:
        """Whether all bytes of the record in hand were text."""
        for line in self._record:
            if not line.isascii():
                try:
                    line.encode()
                except UnicodeEncodeError:
                    return False
        return True

    def _row(self, cells: Sequence[str]) -> TableRow:
        """The record in hand as a row."""
        found: dict[str, str | dict[str, str]] = {}
        custom: dict[str, str] = {}
        for name, known, cell in zip(self.header.names, self.header.known, cells, strict=False):
            if cell:
                if known:
                    found[name] = cell
                else:
                    custom[name] = cell
        if custom:
            found[CUSTOM] = custom
        return TableRow(self._line, found)

    def _first_line(self) -> str:
        """The first line that is not empty.

        Raises:
            FileRefused: there is none, or it cannot be a header.
        """
        for line in self._lines:
            if self._lines.too_long:
                raise FileRefused(Code.BAD_HEADER, "the first line is longer than a header may be")
            if line.strip():
                return line
        raise FileRefused(Code.EMPTY_FILE, "the file has no header: every line is empty")

    def _header_cells(self) -> list[str]:
        """Cells of the header.

        Raises:
            FileRefused: the header cannot be read.
        """
        try:
            cells = next(self._reader)
        except (csv.Error, _RecordTooLong, StopIteration):
            raise FileRefused(Code.BAD_HEADER, "the header cannot be read: its quotes do not match") from None
        if not self._is_text():
            raise FileRefused(Code.BAD_ENCODING, "the header is not text in UTF-8")
        return cells


def _fits(cells: Sequence[str], width: int) -> bool:
    """Whether a row has as many cells as the header, empty ones behind a trailing delimiter apart."""
    return len(cells) >= width and not any(cells[width:])


def _sniff(header: str) -> str:
    """The delimiter that makes most sense of the header: most known names, else most columns."""

    def sense(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            cells = []
        return sum(fold(cell) in _FOLDED_NAMES for cell in cells), len(cells)

    return max(DELIMITERS, key=sense)
