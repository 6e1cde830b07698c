"""The error report beside a refused file: why it was refused, with nothing of its content."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from producers.errors import FileRefused
from schemas.csv_cells import harmless
from schemas.outcomes import Code

COLUMNS: Final = ("line", "field", "code", "detail")
HEADER_LINE: Final = "1"
_BETWEEN_FAULTS: Final = re.compile(r"; (?=columns? )")
_FIELD: Final = re.compile(r"(?:expected|same name) '([A-Z_ ]+)'|^column '([A-Z_ ]+)' is missing")


def report_of(refusal: FileRefused) -> bytes:
    """CSV in UTF-8 with `COLUMNS`: one line per fault of the header, else one for the file.

    `line` is empty for a fault of the file as a whole; `field` is the field that was expected, if the fault
    has one.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for line, field, detail in _faults(refusal):
        writer.writerow([line, field, refusal.code.value, harmless(detail)])
    return text.getvalue().encode()


def _faults(refusal: FileRefused) -> Iterator[tuple[str, str, str]]:
    """Line, field and detail of each fault; those of a header stand in one text, parted by semicolons."""
    if refusal.code is not Code.BAD_HEADER:
        yield "", "", refusal.detail
        return
    for fault in _BETWEEN_FAULTS.split(refusal.detail):
        found = _FIELD.search(fault)
        yield HEADER_LINE, (found[1] or found[2] if found else ""), fault
