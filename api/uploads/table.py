"""The rows of an uploaded file, with how far it is read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from api.uploads.sealed_file import SealedReader
from producers.tabular import Row, Table, open_table
from schemas.fields import SOURCE_PROFILES

PROFILE: Final = SOURCE_PROFILES["upload"]


@dataclass(slots=True)
class UploadedTable:
    """The table of a file.

    Attributes:
        rows_read: how many rows were given so far.
    """

    table: Table
    file: SealedReader
    rows_read: int = 0

    @property
    def bytes_read(self) -> int:
        """How far the file is read."""
        return self.file.at

    @property
    def left_out(self) -> str | None:
        """What of the file is not read, in words; None when all of it is."""
        return "; ".join(warning.detail for warning in self.table.warnings) or None

    def batches(self) -> Iterator[Sequence[Row]]:
        """The rows in lists."""
        for rows in self.table.batches():
            yield rows
            self.rows_read += len(rows)


@contextmanager
def opened(open_file: Callable[[], SealedReader]) -> Iterator[UploadedTable]:
    """An uploaded file as a table, closed at the end; its header is checked at once.

    Args:
        open_file: opens the file from its beginning; called again for a second look at its numbers.

    Raises:
        FileRefused: no usable header, or not a table.
        SpoolLost: the file cannot be read back.
    """
    files: list[SealedReader] = []

    def source() -> SealedReader:
        files.append(open_file())
        return files[-1]

    table, close = open_table(source, PROFILE)
    try:
        yield UploadedTable(table, files[0])
    finally:
        close()
