"""What may be wrong with a record of a CSV source: its length, its cells, its quotes, its bytes."""

import csv
import re
from collections.abc import Sequence
from typing import Final

from producers.text_lines import MAX_LINE_CHARS, is_text

MAX_RECORD_CHARS: Final = MAX_LINE_CHARS
"""Longest record, in characters; a quoted cell may span lines up to this."""
MAX_RECORD_LINES: Final = 200
"""Most physical lines of a record."""
TOO_LONG: Final = f"the row has more than {MAX_RECORD_CHARS:,} characters, or {MAX_RECORD_LINES} lines"
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def fits(own: Sequence[str]) -> bool:
    """Whether the lines of a record are text and within the limits."""
    return len(own) <= MAX_RECORD_LINES and sum(map(len, own)) <= MAX_RECORD_CHARS and is_text("".join(own))


def is_row(cells: Sequence[str], width: int) -> bool:
    """Whether a record has as many cells as the header, empty ones behind a trailing delimiter apart.

    An empty line, or one of delimiters and spaces, is as good as a row: it has no cells.
    """
    return not any(map(str.strip, cells[width:] if len(cells) >= width else cells))


def looks_like_row(line: str, delimiter: str, width: int) -> bool:
    """Whether a line is a row of its own, good or bad, and no part of a text whose quotes do not match."""
    return line.count(delimiter) >= max(width // 2, 1)


def swallows_rows(cells: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether a cell of several lines holds rows: two stray quotes, rows apart, look like a quoted text.

    A line between its first and its last one is a row if it has as many cells as the header. Those two are
    the ends of rows if each has as many together with what stands outside the quotes. A note with a comma
    here and there has not.
    """
    most = max(width - 1, 1)
    for at, cell in enumerate(cells[:width]):
        if "\n" not in cell and "\r" not in cell:
            continue
        counts = [line.count(delimiter) for line in _LINE_END.split(cell)]
        if max(counts[1:-1], default=0) >= most or (counts[0] >= most - at and counts[-1] >= at):
            return True
    return False


def swallowed(first: int, last: int) -> str:
    """What is told of a record from one line to another that does."""
    return (
        f"a quoted text from line {first} to line {last} holds lines that are rows: a quote is missing, or is"
        " one too many"
    )


def reason(error: csv.Error) -> str:
    """What the parser has against a record, in our words."""
    if str(error).startswith("new-line character"):
        return "a carriage return stands in a cell without quotes"
    return "the quotes do not match"
