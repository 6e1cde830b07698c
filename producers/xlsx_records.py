"""Records of the first visible sheet of an xlsx workbook, a courtesy for uploads: the same rules as for CSV.

A workbook is read whole, so its size is limited, packed and unpacked. Numbers become texts as in a sheet
(`sheet_cells`), with the zeros that their format shows, dates ISO 8601 without a zone; a row with a formula
error (`#N/A`) is unreadable.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import chain, count, islice, zip_longest
from typing import Any, Final

from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    SheetMetadata,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from producers.errors import FileRefused
from producers.header import HEADER_WITHIN, find_header
from producers.sheet_cells import cell_text, is_empty, is_whole, kind_of, row_fault
from producers.table_rows import MAX_RAW_CHARS, Block, Remark, UnreadableRow
from producers.template_names import NOTES_SHEET
from producers.text_lines import MAX_LINE_CHARS, BinarySource
from producers.xlsx_formats import OTHER
from producers.xlsx_shape import check_size, look_at
from schemas.fields import Kind
from schemas.outcomes import Code
from schemas.payment_model import TEXT_KINDS

MAX_PACKED_BYTES: Final = 64 * 1024 * 1024
"""Largest workbook."""
_ROWS_AT_ONCE: Final = 128
_FROM_1904_DAYS: Final = (date(1904, 1, 1) - date(1899, 12, 30)).days
_NO_WORKBOOK: Final = (
    CalamineError,
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    IndexError,
    ValueError,
    StopIteration,
    NotImplementedError,  # how zipfile says that it does not know a way of packing
    RuntimeError,  # and that a part is locked by a password
    OSError,
)


class XlsxRecords:
    """Records of a workbook, see `producers.csv_records.CsvRecords`.

    Raises:
        FileRefused: it is no workbook, too large, locked by a password, or empty.
    """

    open_end = False

    def __init__(self, source: BinarySource, titles: bool = False) -> None:
        data = _all_of(source)
        try:
            check_size(data)
            book = CalamineWorkbook.from_filelike(io.BytesIO(data))
            sheets = book.sheets_metadata
            index = next((at for at, sheet in enumerate(sheets) if _is_visible(sheet)), 0)
            self.warnings = _left_out(sheets[index + 1 :])
            self._looks = look_at(data, index)
            self._sheet = book.get_sheet_by_index(index)
        except _NO_WORKBOOK as error:
            detail = f"not a workbook that can be read ({type(error).__name__}): save it as CSV or xlsx"
            raise FileRefused(Code.BAD_ENCODING, detail) from None
        # its rows begin with the first column that has a cell, and with the first row of the sheet
        self._empty_columns = self._sheet.start[1] if self._sheet.start else 0
        self._too_far: set[int] = set()
        full = self._full_rows()
        first = list(islice(full, HEADER_WITHIN if titles else 1))
        if not first:
            raise FileRefused(Code.EMPTY_FILE, "the workbook has no header: its first visible sheet is empty")
        headers = [[*map(_text, row)] for _, row in first]
        at = find_header(headers) if titles else 0
        self.header_line, self.header = first[at][0], headers[at]
        self._rows = chain(first[at + 1 :], full)

    def _full_rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Rows in which something stands, also if it cannot be read, with their numbers."""
        rows = iter(self._sheet.iter_rows())
        for line in count(1):
            try:
                row = next(rows)
            except StopIteration:
                return
            except OverflowError:  # a duration of more days than Python counts
                self._too_far.add(line)
                row = []
            if line in self._too_far or line in self._looks.errors or not all(map(is_empty, row)):
                yield line, row

    def blocks(self, width: int) -> Iterator[Block | UnreadableRow]:
        """Rows of `width` cells and what could not be read, in order."""
        lines: list[int] = []
        block: list[list[str]] = []
        kinds = [kind_of(name) for name in self.header[:width]]
        for line, row in self._rows:
            cells = self._texts(line, row, kinds)
            if fault := self._fault(line, row, cells, kinds):
                if block:
                    yield Block(lines, block)
                    lines, block = [], []
                yield UnreadableRow(line, "\t".join(cells)[:MAX_RAW_CHARS], *fault)
                continue
            lines.append(line)
            block.append(cells)
            if len(block) == _ROWS_AT_ONCE:
                yield Block(lines, block)
                lines, block = [], []
        if block:
            yield Block(lines, block)

    def _texts(self, line: int, row: list[Any], kinds: Sequence[Kind | None]) -> list[str]:
        """The texts of a row's cells."""
        if self._looks.from_1904:
            row = [
                value + _FROM_1904_DAYS if kind == "timestamp" and isinstance(value, float) else value
                for value, kind in zip_longest(row, kinds[: len(row)])
            ]
        cells = [_text(value, kind) for value, kind in zip_longest(row, kinds[: len(row)])]
        for at, zeros in self._with_zeros(line, row, kinds):
            if zeros < OTHER:
                cells[at] = cells[at].zfill(zeros)
        return cells

    def _with_zeros(
        self, line: int, row: list[Any], kinds: Sequence[Kind | None]
    ) -> Iterator[tuple[int, int]]:
        """Numbers in columns of texts to which their format adds zeros: place in the row, and `zeros_of`."""
        for column, zeros in self._looks.zeros.of_row(line).items():
            at = column - 1 - self._empty_columns
            if 0 <= at < min(len(kinds), len(row)):
                is_number = isinstance(row[at], float) and is_whole(row[at])
                if is_number and (kinds[at] is None or kinds[at] in TEXT_KINDS):
                    yield at, zeros

    def _fault(
        self, line: int, row: list[Any], cells: list[str], kinds: Sequence[Kind | None]
    ) -> tuple[Code, str] | None:
        """What makes a row unreadable, as code and detail; None if nothing does."""
        if (size := sum(map(len, cells))) > MAX_LINE_CHARS:
            return Code.TOO_LARGE, f"the row has {size:,} characters; at most {MAX_LINE_CHARS:,} are read"
        if line in self._too_far:
            return Code.UNREADABLE_ROW, "a time of the row is too long to be one"
        if (column := self._looks.errors.get(line)) is not None:
            at = max(column - self._empty_columns, 1)
            return Code.UNREADABLE_ROW, f"column {at}: a formula ended in an error"
        if (detail := row_fault(row, kinds)) is not None:
            return Code.UNREADABLE_ROW, detail
        for at, zeros in self._with_zeros(line, row, kinds):
            if zeros == OTHER and kinds[at] in ("id", "phone"):
                detail = f"column {at + 1}: a number to which its format adds zeros or letters: make it text"
                return Code.UNREADABLE_ROW, detail
        return None


def _is_visible(sheet: SheetMetadata) -> bool:
    return sheet.visible is SheetVisibleEnum.Visible


def _left_out(behind: Sequence[SheetMetadata]) -> Sequence[Remark]:
    """What is said about the sheets behind the one that is read: nobody should miss their rows later."""
    further = sum(
        _is_visible(sheet) and sheet.typ is SheetTypeEnum.WorkSheet and sheet.name != NOTES_SHEET
        for sheet in behind
    )
    if not further:
        return ()
    text = f"only the first visible sheet is read; not read, to be sent as files of their own: {further}"
    return (Remark("further_sheets", text),)


def _all_of(source: BinarySource) -> bytes:
    """The whole workbook.

    Raises:
        FileRefused: it is larger than allowed.
    """
    parts: list[bytes] = []
    size = 0
    while part := source.read(1024 * 1024):
        parts.append(part)
        size += len(part)
        if size > MAX_PACKED_BYTES:
            detail = f"the workbook is larger than {MAX_PACKED_BYTES:,} bytes: save it as CSV"
            raise FileRefused(Code.TOO_LARGE, detail)
    return b"".join(parts)


def _text(value: Any, kind: Kind | None = None) -> str:
    """A cell's text; dates of a workbook come as dates."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00"
    if isinstance(value, time | timedelta):
        return str(value)
    return cell_text(value, kind)
