"""The error report beside a refused file: why it was refused, with nothing of its content."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from producers.errors import FileRefused
from schemas.csv_cells import harmless
from schemas.outcomes import Code

COLUMNS: Final = ("line", "field", "code", "detail")
HEADER_LINE: Final = "1"


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
    """Line, field and detail of each fault."""
    for fault in refusal.faults:
        yield HEADER_LINE, fault.field, fault.detail
    if not refusal.faults:
        yield HEADER_LINE if refusal.code is Code.BAD_HEADER else "", "", refusal.detail
