"""Number formats of a workbook: in which cells a spreadsheet shows zeros that the stored number lacks.

A meter's number typed into a column formatted `00000000` is stored as 123 and shown as 00000123. Of such a
format alone what is shown is known for sure; others that add zeros (`000-0000`), or letters and digits of
their own (`"0"#`, `"M-"0`), are only recognised.
"""

import re
from collections.abc import Mapping
from typing import Final

OTHER: Final = 255
"""A format adds letters or digits that the number has not, and not zeros alone."""
_SECTION: Final = re.compile(r'(?:"[^"]*"?|\\.|[^;"\\])*')
"""What is in force for numbers above 0: all up to the first semicolon that is no text."""
_TEXTS: Final = re.compile(r'"[^"]*"?|\\.')
_SPACES: Final = re.compile(r"_.|\*.|\[[^\]<>=]*\]")
"""Widths, fillings and colours, which are no digits."""
_ALL_ZEROS: Final = re.compile(r"0{2,}").fullmatch
_EXPONENT: Final = re.compile(r"[eE][+-]0+")


def zeros_of(code: str) -> int:
    """To how many digits a format fills up with zeros; 0 if it adds nothing, `OTHER` if not only zeros."""
    found = _SECTION.match(code)
    section = found[0] if found else ""
    texts = "".join(_TEXTS.findall(section))
    digits = _SPACES.sub("", _TEXTS.sub("", section)).strip()
    if not texts and _ALL_ZEROS(digits) and len(digits) < OTHER:
        return len(digits)
    whole = _EXPONENT.sub("", digits).partition(".")[0]
    return OTHER if whole.count("0") > 1 or any(map(str.isalnum, texts)) else 0


class Formats:
    """The formats of a workbook as the elements of its styles go by."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}
        self._styles: list[str] = []
        self._of_cells = False

    def element(self, name: str, attributes: Mapping[str, str]) -> None:
        """Take in one element; after the formats of cells come those that conditions put on."""
        if name in ("cellStyleXfs", "cellXfs"):
            self._of_cells = name == "cellXfs"
        elif name == "numFmt" and not self._of_cells:
            self._codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif name == "xf" and self._of_cells:
            self._styles.append(attributes.get("numFmtId", "0"))

    def zeros(self) -> dict[str, int]:
        """`zeros_of` by the number of a cell's style; styles that add none are left out.

        None of the formats that a workbook does not spell out (ECMA-376, 18.8.30) adds zeros.
        """
        found = ((str(at), zeros_of(self._codes.get(style, ""))) for at, style in enumerate(self._styles))
        return {style: zeros for style, zeros in found if zeros}


class ZeroCells:
    """Cells with such a format: a byte for each row of the columns that have any."""

    def __init__(self) -> None:
        self._columns: dict[int, bytearray] = {}

    def note(self, row: int, column: int, zeros: int) -> None:
        """Remember the format of a cell; rows and columns count from 1."""
        rows = self._columns.setdefault(column, bytearray())
        if len(rows) <= row:
            rows.extend(bytes(row + 1 - len(rows)))
        rows[row] = zeros

    def of_row(self, row: int) -> dict[int, int]:
        """`zeros_of` the cells of a row that have such a format, by column."""
        return {at: rows[row] for at, rows in self._columns.items() if row < len(rows) and rows[row]}
