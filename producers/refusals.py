"""The error report beside a refused file: why it was refused, with nothing of its content."""

import csv
import io
from typing import Final

from producers.errors import FileRefused, HeaderFault
from schemas.csv_cells import harmless

COLUMNS: Final = ("line", "field", "code", "detail")


def report_of(refusal: FileRefused) -> bytes:
    """CSV in UTF-8 with `COLUMNS`: one line per fault of the header, else one for the file.

    `line` is that on which the header stands, empty for a fault of the file as a whole; `field` is the field
    that was expected, if the fault has one.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for field, detail in refusal.faults or [HeaderFault("", refusal.detail)]:
        writer.writerow([refusal.line or "", field, refusal.code.value, harmless(detail)])
    return text.getvalue().encode()
