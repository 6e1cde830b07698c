"""Records of the first visible sheet of an xlsx workbook, a courtesy for uploads: the same rules as for CSV.

A workbook is read whole, so its size is limited, packed and unpacked. Numbers become texts as in a sheet
(`sheet_cells`), dates ISO 8601 without a zone; a row with a formula error (`#N/A`) is unreadable.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import chain, islice, zip_longest
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
from producers.sheet_cells import cell_text, has_lost_digits
from producers.table_rows import MAX_RAW_CHARS, Block, Remark, UnreadableRow
from producers.template_names import NOTES_SHEET
from producers.text_lines import MAX_LINE_CHARS, BinarySource
from producers.xlsx_shape import check_size, rows_with_errors
from schemas.fields import ALIASES, BY_NAME, Kind
from schemas.outcomes import Code

MAX_PACKED_BYTES: Final = 64 * 1024 * 1024
"""Largest workbook."""
_ROWS_AT_ONCE: Final = 128
_KINDS: Final[dict[str, Kind]] = {name: field.kind for name, field in BY_NAME.items()} | {
    alias: BY_NAME[name].kind for alias, name in ALIASES.items()
}
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

    def __init__(self, source: BinarySource, titles: bool = False) -> None:
        data = _all_of(source)
        try:
            check_size(data)
            book = CalamineWorkbook.from_filelike(io.BytesIO(data))
            sheets = book.sheets_metadata
            index = next((at for at, sheet in enumerate(sheets) if _is_visible(sheet)), 0)
            self.warnings = _left_out(sheets[index + 1 :])
            self._errors = rows_with_errors(data, index)
            self._sheet = book.get_sheet_by_index(index)
        except _NO_WORKBOOK as error:
            detail = f"not a workbook that can be read ({type(error).__name__}): save it as CSV or xlsx"
            raise FileRefused(Code.BAD_ENCODING, detail) from None
        rows = enumerate(self._sheet.iter_rows(), 1)
        full = ((line, row) for line, row in rows if any(map(_text, row)))
        first = list(islice(full, HEADER_WITHIN if titles else 1))
        if not first:
            raise FileRefused(Code.EMPTY_FILE, "the workbook has no header: its first visible sheet is empty")
        headers = [[*map(_text, row)] for _, row in first]
        at = find_header(headers) if titles else 0
        self.header_line, self.header = first[at][0], headers[at]
        self._rows = chain(first[at + 1 :], rows)

    def blocks(self, width: int) -> Iterator[Block | UnreadableRow]:
        """Rows of `width` cells and what could not be read, in order."""
        lines: list[int] = []
        block: list[list[str]] = []
        kinds = [_KINDS.get(name) for name in self.header[:width]]
        for line, row in self._rows:
            cells = [_text(value, kind) for value, kind in zip_longest(row, kinds[: len(row)])]
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

    def _fault(
        self, line: int, row: list[Any], cells: list[str], kinds: list[Kind | None]
    ) -> tuple[Code, str] | None:
        """What makes a row unreadable, as code and detail; None if nothing does."""
        if sum(map(len, cells)) > MAX_LINE_CHARS:
            return Code.TOO_LARGE, "the row is longer than allowed"
        if line in self._errors:
            return Code.UNREADABLE_ROW, "a formula of the row ended in an error"
        if any(cells[len(kinds) :]):
            return Code.UNREADABLE_ROW, f"cells beyond the header's {len(kinds)}"
        if any(has_lost_digits(value, kind) for value, kind in zip(row, kinds, strict=False)):
            detail = "an id is a number of more than 15 digits, which a spreadsheet does not keep"
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
