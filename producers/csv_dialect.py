"""Dialects of CSV: which line the header begins with, what stands between cells, lines without quotes."""

import csv
from collections.abc import Sequence
from itertools import islice
from typing import Final

from producers.header import HEADER_WITHIN, find_header, known_names

DELIMITERS: Final = (",", ";", "\t", "|")


def delimiter_of(header: str) -> str:
    """The delimiter that makes most sense of a header: most known names, else most columns."""

    def sense(delimiter: str) -> tuple[int, int]:
        cells = _cells(header, delimiter)
        return known_names(cells), len(cells)

    return max(DELIMITERS, key=sense)


def header_among(lines: Sequence[str]) -> int:
    """Which of the first lines of a sheet that was exported begins its header; lines without text are none.

    Raises:
        FileRefused: none does, see `find_header`.
    """
    rows = ((at, _cells(line, delimiter_of(line))) for at, line in enumerate(lines))
    full = list(islice((row for row in rows if any(map(str.strip, row[1]))), HEADER_WITHIN))
    return full[find_header([cells for _, cells in full])][0]


def unquoted(lines: Sequence[str], text: str, delimiter: str) -> list[list[str]] | None:
    """Records of lines without quotes, as `csv.reader` would read them; None where it might refuse one."""
    if "\r" in text:
        if lines[0].endswith("\r"):
            return None
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            return None
    records = [line.split(delimiter) for line in text.removesuffix("\n").split("\n")]
    return records if len(records) == len(lines) else None


def _cells(line: str, delimiter: str) -> list[str]:
    """Cells of one line, as far as they can be told from it alone."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
