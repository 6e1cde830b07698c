"""Records of a sheet that was exported as CSV: the verdicts of the sheet itself.

What a formula's error makes unreadable there is so here, and rows of boxes that nobody ticked are none.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from producers.csv_records import CsvRecords
from producers.sheet_cells import is_empty, row_fault
from producers.table_rows import MAX_RAW_CHARS, Block, Remark, UnreadableRow
from schemas.outcomes import Code

_UNTICKED: Final = "FALSE"


class ExportedSheet:
    """Records of a CSV source that was a sheet, see `producers.tabular.Records`."""

    open_end = False  # a sheet has none, and its export does not end with one

    def __init__(self, records: CsvRecords) -> None:
        self._records = records
        self.delimiter = records.delimiter
        self.line_end = records.line_end
        self.header = records.header
        self.header_line = records.header_line
        self.warnings: Sequence[Remark] = records.warnings

    def blocks(self, width: int) -> Iterator[Block | UnreadableRow]:
        """Rows of `width` cells and what could not be read, in order."""
        for block in self._records.blocks(width):
            if isinstance(block, UnreadableRow):
                yield block
            else:
                yield from self._of(block, width)

    def _of(self, block: Block, width: int) -> Iterator[Block | UnreadableRow]:
        """The rows of a block that are rows of the sheet too."""
        lines: list[int] = []
        rows: list[Sequence[str]] = []
        for line, cells in zip(block.lines, block.cells, strict=True):
            if all(is_empty(cell) or cell == _UNTICKED for cell in cells):
                continue
            detail = row_fault(cells, [None] * width)
            if detail is None:
                lines.append(line)
                rows.append(cells)
                continue
            if rows:
                yield Block(lines, rows, block.plain)
                lines, rows = [], []
            yield UnreadableRow(line, self._text(cells)[:MAX_RAW_CHARS], Code.UNREADABLE_ROW, detail)
        if rows:
            yield Block(lines, rows, block.plain)

    def _text(self, cells: Sequence[str]) -> str:
        """A row as it could stand in the file."""
        text = io.StringIO()
        csv.writer(text, delimiter=self.delimiter).writerow(cells)
        return text.getvalue()
