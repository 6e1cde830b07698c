"""What a workbook holds, looked at before anything of it is unpacked into memory.

A cell far to the right of or below the others makes a reader ask for every cell between: two cells can ask
for half a terabyte. The sheets' XML is therefore streamed once, and its parts counted.
"""

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Final
from xml.parsers import expat

from producers.errors import FileRefused
from schemas.outcomes import Code

MAX_UNPACKED_BYTES: Final = 256 * 1024 * 1024
"""Largest sum of what is packed in a workbook."""
MAX_COLUMNS: Final = 1024
"""Column of a sheet's last cell; `check_header` has a limit of its own for names."""
MAX_CELLS: Final = 5_000_000
"""Cells between the first one and the last one of a sheet, empty ones included."""
_CELL: Final = re.compile(r"([A-Z]{1,3})(\d{1,7})").fullmatch
_CHUNK_BYTES: Final = 256 * 1024
Attributes = Mapping[str, str]


def check_size(data: bytes) -> None:
    """Look at what a workbook unpacks to, before any of it is unpacked: its texts are read as a whole.

    Raises:
        FileRefused: the workbook is too large.
        zipfile.BadZipFile: it is none.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        size = sum(member.file_size for member in packed.infolist())
    if size > MAX_UNPACKED_BYTES:
        detail = f"the workbook unpacks to {size:,} bytes; at most {MAX_UNPACKED_BYTES:,} are read"
        raise FileRefused(Code.TOO_LARGE, detail)


def rows_with_errors(data: bytes, index: int) -> set[int]:
    """Numbers of the rows of a sheet in which a formula ended in an error; their cells read as empty.

    Raises:
        FileRefused: the sheet is too large.
        KeyError, ValueError, zipfile.BadZipFile: it is no workbook.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        shape = _Shape()
        _parse(packed, _sheet_name(packed, index), shape.element)
        return shape.errors


class _Shape:
    """Rows and columns of a sheet as its elements go by."""

    def __init__(self) -> None:
        self.errors: set[int] = set()
        self._row = 0
        self._column = 0
        self._last_row = 0
        self._last_column = 0

    def element(self, name: str, attributes: Attributes) -> None:
        """Take in one element; a place that is not told is the next one (ECMA-376, 18.3.1)."""
        if name == "row":
            self._row = int(attributes.get("r", self._row + 1))
            self._column = 0
        elif name == "c":
            place = _CELL(attributes.get("r", ""))
            self._column = _number(place[1]) if place else self._column + 1
            self._row = int(place[2]) if place else self._row
            self._last_row = max(self._last_row, self._row)
            self._last_column = max(self._last_column, self._column)
            if attributes.get("t") == "e":
                self.errors.add(self._row)
            if self._last_column > MAX_COLUMNS or self._last_row * self._last_column > MAX_CELLS:
                detail = (
                    f"a cell stands in row {self._row:,}, column {self._column:,}; a sheet may have"
                    f" {MAX_COLUMNS:,} columns and {MAX_CELLS:,} cells: delete what is far from the table"
                )
                raise FileRefused(Code.TOO_LARGE, detail)


def _sheet_name(packed: zipfile.ZipFile, index: int) -> str:
    """Name of a sheet's part within the package."""
    sheets: list[Attributes] = []
    targets: dict[str, str] = {}

    def sheet(name: str, attributes: Attributes) -> None:
        if name == "sheet":
            sheets.append(attributes)

    def relation(name: str, attributes: Attributes) -> None:
        if name == "Relationship":
            targets[attributes["Id"]] = attributes["Target"]

    _parse(packed, "xl/workbook.xml", sheet)
    _parse(packed, "xl/_rels/workbook.xml.rels", relation)
    wanted = next(value for name, value in sheets[index].items() if name.rpartition(":")[2] == "id")
    target = targets[wanted].lstrip("/")
    return target if target.startswith("xl/") else f"xl/{target}"


def _parse(packed: zipfile.ZipFile, name: str, element: Callable[[str, Attributes], None]) -> None:
    """Stream a part of the package through a parser; a part that declares entities is none of a workbook.

    Raises:
        ValueError: it is not well-formed.
    """

    def refuse(*_: object) -> None:
        raise ValueError("entities are declared")

    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: element(tag.rpartition(":")[2], attributes)
    parser.EntityDeclHandler = refuse
    try:
        with packed.open(name) as part:
            while chunk := part.read(_CHUNK_BYTES):
                parser.Parse(chunk)
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise ValueError(f"not well-formed: {error}") from None


def _number(letters: str) -> int:
    """Number of a column from its letters: A is 1, AA is 27."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
