"""A corrected copy of a payments file: what can be put right mechanically is, everything else stays.

The copy is UTF-8, in the file's own dialect; rows that cannot be read are copied as they came, those of a
workbook with the reason in a cell behind the header's columns: none of them becomes a good one by that.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from producers.corrected_cells import DECIMAL_COMMA, HeaderChange, corrected_header, fixes_of
from producers.decimal_comma import AMOUNTS, NUMBERS, with_points, writes_commas
from producers.header import check_header
from producers.table_rows import MAX_RAW_CHARS, Block, UnreadableRow
from producers.tabular import close, open_records
from producers.text_lines import BinarySource

OpenSource = Callable[[], BinarySource]


@dataclass(slots=True)
class Corrections:
    """What was changed.

    Attributes:
        headers: names of columns that were put right.
        cells: (column, what was put right in it) → how many cells.
        rows: rows that were written.
        left_out: rows too long to be copied.
    """

    headers: list[HeaderChange] = field(default_factory=list)
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: int = 0
    left_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values; the cells as column → what → count."""
        columns: dict[str, dict[str, int]] = {}
        for (name, what), count in sorted(self.cells.items()):
            columns.setdefault(name, {})[what] = count
        return {
            "headers": [change._asdict() for change in self.headers],
            "cells": columns,
            "rows": self.rows,
            "left_out": self.left_out,
        }


def write_corrected(open_source: OpenSource, profile: str, out: IO[bytes]) -> Corrections:
    """Write the corrected copy of a file that can be opened several times; returns what was changed.

    Raises:
        FileRefused: it cannot be read, or its header cannot be put right mechanically.
        KeyError: there is no such profile.
    """
    source = open_source()
    try:
        records = open_records(source, profile)
        names, changes = corrected_header(records.header, profile)
        fields = check_header(names, profile).names
        done = Corrections(headers=changes)
        cells = _Cells(fields, names, _commas(open_source, profile, fields))
        line_end = getattr(records, "line_end", "\n")
        copy = _Copy(out, getattr(records, "delimiter", None), line_end, cells)
        copy.row(names)
        for block in records.blocks(len(names)):
            copy.block(block, done)
        return done
    finally:
        close(source)


class _Cells:
    """Puts the cells of a row right."""

    def __init__(self, fields: Sequence[str], names: Sequence[str], commas: bool) -> None:
        self.width = len(fields)
        self._fields = fields
        self._names = names
        self._fixes = [fixes_of(name) for name in fields]
        self._numbers = [at for at, name in enumerate(fields) if name in NUMBERS] if commas else []

    def __call__(self, row: Sequence[str], done: Corrections) -> list[str]:
        """The row's cells; changes are counted."""
        cells = list(row[: len(self._fields)])
        for at, cell in enumerate(cells):
            if not cell:
                continue
            for what, fix in self._fixes[at]:
                now = fix(cells[at])
                if now != cells[at]:
                    cells[at] = now
                    done.cells[self._names[at], what] += 1
        if self._numbers:
            self._to_points(cells, done)
        return cells

    def _to_points(self, cells: list[str], done: Corrections) -> None:
        points = with_points({self._fields[at]: cells[at] for at in self._numbers if cells[at]})
        for at in self._numbers:
            now = points.get(self._fields[at], "")
            if now != cells[at]:
                cells[at] = now
                done.cells[self._names[at], DECIMAL_COMMA] += 1


class _Copy:
    """Writes rows in the dialect of the file; a workbook becomes a file with commas."""

    def __init__(self, out: IO[bytes], delimiter: str | None, line_end: str, cells: _Cells) -> None:
        self._out = out
        self._is_text = delimiter is not None
        self._line_end = line_end
        self._lines: list[str] = []
        # A carriage return in a cell is only quoted where the line ends have one.
        self._writer = csv.writer(self, delimiter=delimiter or ",", lineterminator="\r\n")
        self._cells = cells

    def write(self, line: str, /) -> None:
        """Take a row of the writer's; the copy's lines end as those of the file."""
        self._lines.append(line.removesuffix("\r\n") + self._line_end)

    def block(self, block: Block | UnreadableRow, done: Corrections) -> None:
        """Some rows, or one that could not be read."""
        if isinstance(block, UnreadableRow):
            self._unreadable(block, done)
            return
        for row in block.cells:
            if any(map(str.strip, row)):
                self._writer.writerow(self._cells(row, done))
                done.rows += 1
        self._flush()

    def row(self, cells: Sequence[str]) -> None:
        """One row as it is."""
        self._writer.writerow(cells)
        self._flush()

    def _unreadable(self, row: UnreadableRow, done: Corrections) -> None:
        if len(row.raw) >= MAX_RAW_CHARS:
            done.left_out += 1  # the reader keeps its beginning only
            return
        done.rows += 1
        if not self._is_text:
            # As many cells as the header and one more: by itself such a row could be a good one.
            # Line ends would become rows of it where the cells are not read as a whole.
            cells = " ".join(row.raw.splitlines()).split("\t")
            self.row([*cells, *[""] * (self._cells.width - len(cells)), f"not read: {row.detail}"])
            return
        raw = row.raw.rstrip("\r\n") + self._line_end
        try:
            self._out.write(raw.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # half a character of a UTF-16 file; as bytes it stays what is no text
            self._out.write(raw.encode("utf-8", "surrogatepass"))

    def _flush(self) -> None:
        self._out.write("".join(self._lines).encode())
        self._lines.clear()


def _commas(open_source: OpenSource, profile: str, fields: Sequence[str]) -> bool:
    """Whether the file writes decimal commas: decided over all of it, as the reader does."""
    source = open_source()
    places = {name: at for at, name in enumerate(fields) if name in AMOUNTS}

    def amounts() -> Iterator[dict[str, str]]:
        for block in open_records(source, profile).blocks(len(fields)):
            if isinstance(block, Block):
                for cells in block.cells:
                    if len(cells) >= len(fields):  # an empty line has one cell
                        yield {name: cells[at] for name, at in places.items()}

    try:
        return writes_commas(amounts())
    finally:
        close(source)
