"""What a workbook holds, looked at before anything of it is unpacked into memory.

Beside that it is told what the reader of its cells does not say: which formulas ended in an error, which
cells show more zeros than their number has, and by which calendar days are counted.

A cell far to the right of or below the others makes a reader ask for every cell between: two cells can ask
for half a terabyte. The sheets' XML is therefore streamed once, and its parts counted.
"""

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from producers.errors import FileRefused
from producers.xlsx_formats import Formats, ZeroCells
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


@dataclass(frozen=True, slots=True)
class Looks:
    """What a sheet's XML says of its cells.

    Attributes:
        errors: rows in which a formula ended in an error, with the first such column; it reads as empty.
        zeros: cells that show more zeros than their number has.
        from_1904: whether day 0 is 1904-01-01, as in workbooks of old Macintoshes, and not 1899-12-30.
    """

    errors: dict[int, int] = field(default_factory=dict)
    zeros: ZeroCells = field(default_factory=ZeroCells)
    from_1904: bool = False


def look_at(data: bytes, index: int) -> Looks:
    """Stream a sheet's XML once.

    Raises:
        FileRefused: the sheet is too large.
        KeyError, ValueError, zipfile.BadZipFile: it is no workbook.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        parts = _Parts()
        _parse(packed, "xl/workbook.xml", parts.element)
        _parse(packed, "xl/_rels/workbook.xml.rels", parts.element)
        formats = Formats()
        if parts.styles and parts.styles in packed.namelist():
            _parse(packed, parts.styles, formats.element)
        shape = _Shape(formats.zeros(), Looks(from_1904=parts.from_1904))
        _parse(packed, parts.sheet(index), shape.element)
        return shape.looks


class _Shape:
    """Rows and columns of a sheet as its elements go by."""

    def __init__(self, zeros: Mapping[str, int], looks: Looks) -> None:
        """`zeros` is `Formats.zeros`."""
        self.looks = looks
        self._zeros = zeros
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
                self.looks.errors.setdefault(self._row, self._column)
            if self._last_column > MAX_COLUMNS or self._last_row * self._last_column > MAX_CELLS:
                detail = (
                    f"a cell stands in row {self._row:,}, column {self._column:,}; a sheet may have"
                    f" {MAX_COLUMNS:,} columns and {MAX_CELLS:,} cells: delete what is far from the table"
                )
                raise FileRefused(Code.TOO_LARGE, detail)
            if self._zeros and (zeros := self._zeros.get(attributes.get("s", "0"))):
                self.looks.zeros.note(self._row, self._column, zeros)


class _Parts:
    """Names of the package's parts, as the elements of the workbook and of its relations go by."""

    def __init__(self) -> None:
        self.styles = ""
        self.from_1904 = False
        self._sheets: list[Attributes] = []
        self._targets: dict[str, str] = {}

    def element(self, name: str, attributes: Attributes) -> None:
        """Take in one element."""
        if name == "sheet":
            self._sheets.append(attributes)
        elif name == "workbookPr":
            self.from_1904 = attributes.get("date1904") in ("1", "true")
        elif name == "Relationship":
            target = attributes["Target"].lstrip("/")
            name = target if target.startswith("xl/") else f"xl/{target}"
            self._targets[attributes["Id"]] = name
            if attributes.get("Type", "").endswith("/styles"):
                self.styles = name

    def sheet(self, index: int) -> str:
        """Name of a sheet's part; `KeyError` and `StopIteration` if it has none."""
        own = self._sheets[index].items()
        return self._targets[next(value for name, value in own if name.rpartition(":")[2] == "id")]


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
