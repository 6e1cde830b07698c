"""The reader of tables: a file in, rows with their physical line numbers out, in constant memory."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Final, Protocol

from producers.csv_records import CsvRecords
from producers.decimal_comma import NUMBERS, with_points, writes_commas
from producers.errors import FileRefused
from producers.exported_sheet import ExportedSheet
from producers.header import Header, check_header
from producers.table_rows import MAX_RAW_CHARS, Block, ColumnRows, Remark, Row, TableRow, UnreadableRow
from producers.text_lines import ZIP_MAGIC, BinarySource
from producers.xlsx_records import XlsxRecords
from schemas.fields import SOURCE_PROFILES

ROWS_AT_ONCE: Final = 128
"""Most rows of a batch: few enough to stay in the processor's cache on their way."""

__all__ = ["MAX_RAW_CHARS", "ROWS_AT_ONCE", "Row", "Table", "TableRow", "UnreadableRow", "open_table"]


class Records(Protocol):
    """Records of a file, whatever its form.

    Attributes:
        header: texts of the header's cells.
        header_line: physical line, or row of a sheet, on which it begins.
        warnings: what is left out of the file.
        open_end: whether its last line has no line end; known when all rows were read.
    """

    header: list[str]
    header_line: int
    warnings: Sequence[Remark]

    @property
    def open_end(self) -> bool:
        """See above."""
        ...

    def blocks(self, width: int) -> Iterator[Block | UnreadableRow]:
        """Rows of `width` cells and what could not be read, in order."""
        ...


class Table:
    """Rows of a file. The header is read and checked at once, the rows as they are asked for.

    Args:
        source: the file, from its beginning.
        profile: which columns it must have.
        again: opens the same file once more, for the look at its decimal commas; without it every
            number with a comma stays as it is, and is refused.

    Raises:
        FileRefused: no usable header; the text names its line.
        KeyError: there is no such profile.

    Attributes:
        warnings: what is left out of the file.
    """

    def __init__(
        self,
        source: BinarySource,
        profile: str,
        again: "Callable[[], BinarySource] | None" = None,
        records: "Callable[[BinarySource], Records]" = CsvRecords,
    ) -> None:
        self._open = records
        self._records = records(source)
        self._again = again
        self.warnings = self._records.warnings
        try:
            self.header: Header = check_header(self._records.header, profile)
        except FileRefused as refusal:
            raise refusal.on_line(self._records.header_line) from None
        self._commas: bool | None = None if again else False
        self._numbers = [at for at, name in enumerate(self.header.names) if name in NUMBERS]

    def last_remarks(self) -> Sequence[Remark]:
        """What is odd about the file, known when all rows were read; asked by a dry run."""
        text = "the last line has no line end: was the file cut?"
        return (Remark("no_line_end", text),) if self._records.open_end else ()

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[Sequence[Row]]:
        """The rows, at most `ROWS_AT_ONCE` at a time."""
        for block in self._records.blocks(len(self.header.names)):
            if isinstance(block, UnreadableRow):
                yield [block]
                continue
            columns = self._rows(block)
            if self._commas is None and self._has_comma(columns):
                self._commas = self._writes_commas()
            rows: Sequence[Row] = columns
            if self._commas:
                rows = [
                    TableRow(row.line, with_points(row.cells)) for row in rows if isinstance(row, TableRow)
                ]
            for start in range(0, len(rows), ROWS_AT_ONCE):
                yield rows[start : start + ROWS_AT_ONCE] if len(rows) > ROWS_AT_ONCE else rows

    def _rows(self, block: Block) -> ColumnRows:
        """Rows as they stand in the file; those that are empty are none."""
        lines, records, plain = block
        width = len(self.header.names)
        columns = list(zip(*records, strict=False))[:width]
        if not any(all(map(str.strip, column)) for column in columns):
            full = [at for at, cells in enumerate(records) if any(map(str.strip, cells))]
            lines, records = [lines[at] for at in full], [records[at] for at in full]
            columns = list(zip(*records, strict=False))[:width] or [()] * width
        return ColumnRows(self.header, lines, columns, plain)

    def _has_comma(self, rows: ColumnRows) -> bool:
        """Whether an amount or a coordinate in some rows has a comma."""
        return any("," in "".join(rows.columns[at]) for at in self._numbers)

    def _writes_commas(self) -> bool:
        """Look through the whole file for what commas in its amounts mean."""
        if self._again is None:
            return False
        source = self._again()
        try:
            blocks = self._open(source).blocks(len(self.header.names))
            rows = chain.from_iterable(self._rows(block) for block in blocks if isinstance(block, Block))
            return writes_commas(row.cells for row in rows if isinstance(row, TableRow))
        finally:
            close(source)


def open_table(open_source: Callable[[], BinarySource], profile: str) -> tuple[Table, Callable[[], None]]:
    """The table of a file that is CSV, or a workbook by its first bytes; and what closes the file.

    Raises:
        FileRefused: no usable header.
        KeyError: there is no such profile.
    """
    source = open_source()
    try:
        table = Table(source, profile, open_source, partial(open_records, profile=profile))
    except BaseException:
        close(source)
        raise
    return table, lambda: close(source)


def open_records(source: BinarySource, profile: str) -> Records:
    """The records of a file that is CSV, or a workbook by its first bytes.

    Titles may stand above the header of what was exported from a sheet, as they may in the sheet.

    Raises:
        FileRefused: no header.
    """
    first = source.read(len(ZIP_MAGIC))
    begun, titles = _Begun(first, source), profile == SOURCE_PROFILES["sheet"]
    if first == ZIP_MAGIC:
        return XlsxRecords(begun, titles)
    records = CsvRecords(begun, titles)
    return ExportedSheet(records) if titles else records


class _Begun:
    """A source of which the first bytes were read already."""

    def __init__(self, first: bytes, rest: BinarySource) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end. What was read already comes with what follows it."""
        first, self._first = self._first, b""
        return first + self._rest.read(max(size - len(first), 1)) if first else self._rest.read(size)


def close(source: BinarySource) -> None:
    """Close a file; what only lends its bytes has no `close`."""
    end = getattr(source, "close", None)
    if end is not None:
        end()
