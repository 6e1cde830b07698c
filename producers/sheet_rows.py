"""Records of a range of a spreadsheet, for the reader of tables: the same header rules, the same rows.

Lines are the sheet's own row numbers. Above the header there may be titles; below it a row may be shorter
than the header, because empty cells at its end are not sent, and empty rows are none.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Final

from producers.errors import FileRefused
from producers.header import HEADER_WITHIN, find_header
from producers.sheet_cells import cell_text, is_empty, kind_of, row_fault
from producers.sheets import Cells, Window
from producers.table_rows import MAX_RAW_CHARS, Block, Remark, UnreadableRow
from producers.tabular import Table
from schemas.outcomes import Code

Windows = Callable[[], Iterator[Window]]
"""Reads the range from its beginning."""


class SheetRecords:
    """Records of a range, see `producers.tabular.Records`.

    Raises:
        FileRefused: the range is empty, or none of its first rows is a header.
    """

    warnings: Sequence[Remark] = ()
    open_end = False

    def __init__(self, windows: Iterator[Window]) -> None:
        self._rows = _numbered(windows)
        first = list(islice(self._rows, HEADER_WITHIN))
        if not first:
            raise FileRefused(Code.EMPTY_FILE, "the range is empty: expected a row with column names")
        headers = [[cell_text(cell, None) for cell in cells] for _, cells in first]
        at = find_header(headers)
        self.header = headers[at]
        self.header_line = first[at][0]
        self._first = first[at + 1 :]
        self._kinds = [kind_of(name) for name in self.header]

    def blocks(self, width: int) -> Iterator[Block | UnreadableRow]:
        """Rows of `width` cells and what could not be read, in order."""
        lines: list[int] = []
        block: list[list[str]] = []
        for line, cells in self._below():
            record = self._record(line, cells, width)
            if isinstance(record, list):
                lines.append(line)
                block.append(record)
            if block and (len(block) == _BLOCK_ROWS or not isinstance(record, list)):
                yield Block(lines, block)
                lines, block = [], []
            if not isinstance(record, list):
                yield record
        if block:
            yield Block(lines, block)

    def _below(self) -> Iterator[tuple[int, Cells]]:
        yield from self._first
        yield from self._rows

    def _record(self, line: int, cells: Cells, width: int) -> list[str] | UnreadableRow:
        """The texts of a row, or why it has none."""
        kinds = self._kinds[:width]
        detail = row_fault(cells, kinds)
        texts = [cell_text(cell, kind) for cell, kind in zip(cells, kinds, strict=False)]
        if detail is None:
            return texts + [""] * (width - len(texts))
        texts += [cell_text(cell, None) for cell in cells[width:]]
        return UnreadableRow(line, "\t".join(texts)[:MAX_RAW_CHARS], Code.UNREADABLE_ROW, detail)


_BLOCK_ROWS: Final = 1000


def open_sheet(windows: Windows, again: Windows, profile: str) -> Table:
    """The table of a range; `again` reads it a second time, if commas have to be looked at.

    Raises:
        FileRefused: no usable header.
        KeyError: there is no such profile.
    """
    readings = chain((windows,), repeat(again))
    # A sheet is no stream of bytes: what the table opens is empty, its records come from the API.
    return Table(io.BytesIO(), profile, io.BytesIO, lambda _: SheetRecords(next(readings)()))


def _numbered(windows: Iterator[Window]) -> Iterator[tuple[int, Cells]]:
    """Rows that are not empty, with their numbers."""
    for first, rows in windows:
        for line, cells in enumerate(rows, first):
            if not all(map(is_empty, cells)):
                yield line, cells
