"""Records of a CSV source with the physical lines on which they begin, in constant memory.

Whole windows of lines go through the parser at once. Where something is wrong in one, the record that is
wrong is read line by line: one quote too many must neither end the reading nor hide the rows behind it, so
a record that cannot be read is given up line by line until a line stands for a row again.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from producers.csv_checks import (
    MAX_RECORD_CHARS,
    MAX_RECORD_LINES,
    TOO_LONG,
    fits,
    is_row,
    looks_like_row,
    reason,
    swallowed,
    swallows_rows,
)
from producers.csv_dialect import delimiter_of, header_among, unquoted
from producers.errors import FileRefused
from producers.table_rows import MAX_RAW_CHARS, Block, Remark, UnreadableRow
from producers.text_lines import MAX_LINE_CHARS, BinarySource, is_plain, is_text, text_lines
from schemas.outcomes import Code

_MOST_TITLE_LINES: Final = 1000
"""Physical lines among which the header of a sheet is looked for, empty ones included."""
_MOST_LINES: Final = 128
"""Most lines that are parsed at once, so that their rows stay in the processor's cache until they are sent.
Behind a record that could not be read it is one line, then two, four, …"""


class _RecordTooLong(Exception):
    """The record in hand exceeds a limit."""


class CsvRecords:
    """Records of a CSV source: its header at once, blocks of rows as they are asked for.

    Args:
        titles: whether titles may stand above the header, see `find_header`; else it is the first line that
            is not empty.

    Raises:
        FileRefused: there is no header, or it cannot be read.

    Attributes:
        delimiter: one of `csv_dialect.DELIMITERS`, found from the header.
        header: cells of the header.
        header_line: physical line on which it begins.
        line_end: what its lines end with.
    """

    warnings: Sequence[Remark] = ()

    def __init__(self, source: BinarySource, titles: bool = False) -> None:
        self._chunks = text_lines(source)
        self._again: deque[str] = deque()
        self._taken = 0
        self._last = "\n"
        self._record: list[str] = []
        first = self._begin_of_header(titles)
        self.header_line = self._taken + 1
        self.delimiter = delimiter_of(first)
        self.line_end = "\r" if first.endswith("\r") else "\n"
        self._reader = self._new_reader()
        self.header = self._header_cells(first)
        self._window = _MOST_LINES

    def blocks(self, width: int) -> Iterator[Block | UnreadableRow]:
        """Rows of `width` cells and what could not be read, in order.

        A block's rows have at least `width` cells; empty lines and lines of delimiters are rows too.
        """
        while lines := self._window_of_lines():
            block, used = self._parsed(lines, width)
            if block.cells:
                yield block
            self._give_back(lines[used:])
            if used == len(lines):
                self._window = min(2 * self._window, _MOST_LINES)
            elif (row := self._one(width)) is not None:
                self._window = self._window if isinstance(row, Block) else 1
                yield row

    def _window_of_lines(self) -> list[str]:
        """The next lines, at most a window of them; empty at the end."""
        if not self._again:
            self._again.extend(self._next_lines())
        size = min(self._window, len(self._again))
        if size == len(self._again):
            lines = list(self._again)
            self._again.clear()
        else:
            lines = [self._again.popleft() for _ in range(size)]
        self._taken += size
        return lines

    def _next_lines(self) -> Sequence[str]:
        """The lines that the source gives next; none at its end."""
        lines: Sequence[str] = next(self._chunks, ())
        if lines:
            self._last = lines[-1][-1:]
        return lines

    @property
    def open_end(self) -> bool:
        """Whether the last line that was read has no line end."""
        return self._last not in ("\n", "\r")

    def _give_back(self, lines: Sequence[str]) -> None:
        self._again.extendleft(reversed(lines))
        self._taken -= len(lines)

    def _parsed(self, lines: list[str], width: int) -> tuple[Block, int]:
        """The records that begin the lines and have nothing wrong, and how many lines they are."""
        first = self._taken - len(lines) + 1
        text = "".join(lines)
        records, ends = self._records_of(lines, text)
        good, single = len(records), len(records) == len(lines)
        if not (single and is_text(text) and max(map(len, lines)) <= MAX_LINE_CHARS):
            bad = (at for at in range(good) if not fits(lines[ends[at - 1] if at else 0 : ends[at]]))
            good = next(bad, good)
        if not single:
            many = (at for at in range(good) if ends[at] - (ends[at - 1] if at else 0) > 1)
            good = next((at for at in many if swallows_rows(records[at], self.delimiter, width)), good)
        if {*map(len, records)} != {width}:
            good = next((at for at in range(good) if not is_row(records[at], width)), good)
        if good == len(lines):
            return Block(range(first, first + good), records, is_plain(text, self.delimiter)), good
        starts = [first + end for end in (0, *ends)][:good]
        used = ends[good - 1] if good else 0
        return Block(starts, records[:good]), used

    def _records_of(self, lines: list[str], text: str) -> tuple[list[list[str]], Sequence[int]]:
        """Records that begin the lines, and how many lines they are together with those before each."""
        if '"' not in text and (found := unquoted(lines, text, self.delimiter)) is not None:
            return found, range(1, len(lines) + 1)
        try:
            records = list(csv.reader(lines, delimiter=self.delimiter, strict=True))
        except csv.Error:
            records = []
        if len(records) == len(lines):
            return records, range(1, len(lines) + 1)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        records, ends = [], []
        try:
            for cells in reader:
                records.append(cells)
                ends.append(reader.line_num)
        except csv.Error:
            pass  # what is wrong is told by `_one`, which reads the same record again
        return records, ends

    def _one(self, width: int) -> Block | UnreadableRow | None:
        """The next record, read line by line; None at the end."""
        self._record = []
        try:
            cells = next(self._reader)
        except StopIteration:
            self._reader = self._new_reader()
            return None
        except csv.Error as error:
            return self._give_up(Code.UNREADABLE_ROW, reason(error), width)
        except _RecordTooLong:
            return self._give_up(Code.TOO_LARGE, TOO_LONG, width)
        if (wrong := self._wrong(cells, width)) is not None:
            return self._give_up(Code.UNREADABLE_ROW, wrong, width)
        if not is_text("".join(self._record)):
            return self._give_up(
                Code.UNREADABLE_ROW, "bytes that are no text in the file's encoding", width, whole=True
            )
        return Block([self._taken - len(self._record) + 1], [cells])

    def _wrong(self, cells: Sequence[str], width: int) -> str | None:
        """What is wrong with the cells of the record in hand, if anything."""
        if len(self._record) > 1 and swallows_rows(cells, self.delimiter, width):
            return swallowed(self._taken - len(self._record) + 1, self._taken)
        return None if is_row(cells, width) else f"{len(cells)} cells, the header has {width}"

    def _new_reader(self) -> "Iterator[list[str]]":
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        """Lines for the CSV parser, remembered as the record in hand."""
        for line in self._lines():
            self._record.append(line)
            too_many = len(self._record) > MAX_RECORD_LINES
            if too_many or sum(map(len, self._record)) > MAX_RECORD_CHARS:
                raise _RecordTooLong
            yield line

    def _lines(self) -> Iterator[str]:
        """Physical lines, counted as they are taken."""
        while self._again or self._more():
            self._taken += 1
            yield self._again.popleft()

    def _more(self) -> bool:
        """Take further lines from the source; False at its end."""
        self._again.extend(self._next_lines())
        return bool(self._again)

    def _give_up(self, code: Code, detail: str, width: int, *, whole: bool = False) -> UnreadableRow:
        """Give the record in hand up as far as no line of it looks like a row; the rest is read again."""
        lines = self._record
        rows = range(0) if whole else range(1, len(lines))
        lost = next((at for at in rows if looks_like_row(lines[at], self.delimiter, width)), len(lines))
        row = UnreadableRow(self._taken - len(lines) + 1, "".join(lines[:lost])[:MAX_RAW_CHARS], code, detail)
        self._give_back(lines[lost:])
        self._reader = self._new_reader()
        return row

    def _begin_of_header(self, titles: bool) -> str:
        """The line that the header begins with, which is the next one then.

        Raises:
            FileRefused: there is none.
        """
        lines = list(islice(filter(str.strip, self._lines()), 1))
        if not lines:
            raise FileRefused(Code.EMPTY_FILE, "the file has no header: every line is empty")
        at = 0
        if titles:
            lines += islice(self._lines(), _MOST_TITLE_LINES)
            at = header_among(lines)
        self._give_back(lines[at:])
        return lines[at]

    def _header_cells(self, first: str) -> list[str]:
        """Cells of the header, which begins with this line.

        Raises:
            FileRefused: the header cannot be read.
        """
        line = self.header_line
        if len(first) > MAX_LINE_CHARS:
            text = f"the header is longer than allowed: its line has more than {MAX_LINE_CHARS:,} characters"
            raise FileRefused(Code.BAD_HEADER, text).on_line(line)
        try:
            cells = next(self._reader)
        except (csv.Error, _RecordTooLong, StopIteration):
            text = "the header cannot be read: its quotes do not match"
            raise FileRefused(Code.BAD_HEADER, text).on_line(line) from None
        if not is_text("".join(self._record)):
            raise FileRefused(Code.BAD_ENCODING, "the header is not text in UTF-8").on_line(line)
        return cells
