"""A1 notation: areas of a sheet, and the windows of rows in which they are read."""

import re
from dataclasses import dataclass
from typing import Final

ROWS_AT_ONCE: Final = 5_000
"""Most rows of one request."""
CELLS_AT_ONCE: Final = 200_000
"""Most cells of one request; a wide sheet is read in fewer rows."""
_AREA: Final = re.compile(
    r"(?:(?P<quoted>'(?:[^']|'')+')|(?P<plain>[^'!]+))!"
    r"(?P<column>[A-Z]{1,3})(?P<row>\d{1,8})(?::(?P<last_column>[A-Z]{1,3})(?P<last_row>\d{1,8}))?",
    re.ASCII,
).fullmatch
_LETTERS: Final = 26


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of cells of one sheet; rows and columns count from 1, both ends included."""

    sheet: str
    first_row: int
    last_row: int
    first_column: int
    last_column: int

    @classmethod
    def parse(cls, text: str) -> "Area":
        """An area as Google names it in answers: `'My sheet'!B3:T1000`, `Sheet1!A1`.

        Raises:
            ValueError: it is none.
        """
        found = _AREA(text)
        if found is None:
            raise ValueError("not an area in A1 notation")
        quoted = found["quoted"]
        column, row = _number(found["column"]), int(found["row"])
        return cls(
            quoted[1:-1].replace("''", "'") if quoted else found["plain"],
            row,
            int(found["last_row"] or row),
            column,
            _number(found["last_column"] or found["column"]),
        )

    def window(self, first_row: int, last_row: int) -> str:
        """Some rows of it in A1 notation. The name is quoted: a sheet may be called `Q1`."""
        name = self.sheet.replace("'", "''")
        return f"'{name}'!{_letters(self.first_column)}{first_row}:{_letters(self.last_column)}{last_row}"

    @property
    def rows_at_once(self) -> int:
        """How many rows are asked for at once."""
        width = self.last_column - self.first_column + 1
        return max(min(ROWS_AT_ONCE, CELLS_AT_ONCE // width), 1)


def _letters(number: int) -> str:
    """`A` for 1, `AA` for 27."""
    found = ""
    while number:
        number, rest = divmod(number - 1, _LETTERS)
        found = chr(ord("A") + rest) + found
    return found


def _number(letters: str) -> int:
    """1 for `A`, 27 for `AA`."""
    found = 0
    for letter in letters:
        found = found * _LETTERS + ord(letter) - ord("A") + 1
    return found
