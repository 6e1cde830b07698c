"""Cells as texts: missing values, control characters, lengths, and numbers that mean text.

The checks are pydantic core schemas, so a good cell never runs Python code.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import numpy as np
import orjson
from pydantic import AfterValidator, Field, Strict, StringConstraints, WithJsonSchema

from schemas.faults import fault
from schemas.fields import MAX_CELL, MAX_ID
from schemas.outcomes import Code


def _spellings(word: str) -> set[str]:
    """Every upper and lower case spelling of a short word."""
    found = {""}
    for letter in word:
        found = {start + form for start in found for form in {letter.lower(), letter.upper()}}
    return found


WHITESPACE: Final = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""Unicode's White_Space, which pydantic trims; Python's own `strip` would also take control characters."""

PLACEHOLDERS: Final = frozenset({"", "-"}.union(*map(_spellings, ("n/a", "null", "nul"))))
"""Texts that mean "no value" (product.md, "File reality"); never matched or deduplicated on."""

ONE_LINE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""No control characters."""
INVISIBLE: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    r"\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f"
)
"""Letters that nobody sees: marks of direction, joiners, fillers. Ids that look the same differ by them."""
ID_LINE: Final = rf"{ONE_LINE[:-3]}{INVISIBLE}]*$"
"""No control characters and nothing invisible."""
_FIRST_PRINTABLE: Final = 0x20
MANY_LINES: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
"""No control characters but tab, line feed and carriage return."""


BLANK_SCHEMA: Final = {"type": "string", "pattern": r"^\s*(?:-|[nN]/[aA]|[nN][uU][lL][lL]?)?\s*$"}
"""JSON Schema of a placeholder."""


def text_schema(longest: int, *, many_lines: bool = False) -> dict[str, Any]:
    """JSON Schema of a text: trimmed, then without control characters and not longer than `longest`."""
    letter = (MANY_LINES if many_lines else ONE_LINE)[1:-2]
    return {"type": "string", "pattern": rf"^\s*{letter}{{0,{longest}}}\s*$"}


def trim(text: str) -> str:
    """The text without white space around it."""
    return text.strip(WHITESPACE)


def plain_text(value: Any) -> str | None:
    """The text a cell stands for, trimmed; None for a missing value or one that is no text.

    A JSON integer is its digits, because ids are often numbers at their sender. A float or a boolean
    is no text: `45987.0` is not what the meter says.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    text = trim(value)
    return None if text in PLACEHOLDERS else text


def json_text(value: Any) -> str | None:
    """Compact JSON of a value that is no text; None for one that cannot be written (too deep, too large)."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return None


def is_missing(value: Any) -> bool:
    """True for an absent cell and for a placeholder."""
    return value is None or (isinstance(value, str) and trim(value) in PLACEHOLDERS)


def has_control_character(text: str, *, many_lines: bool = False) -> bool:
    """True for a text that the patterns refuse, and for half a UTF-16 pair, which UTF-8 cannot hold."""
    if text.isprintable():
        return False
    pattern = MANY_LINES if many_lines else ONE_LINE
    if re.fullmatch(pattern[1:-1], text) is None:
        return True
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def control_characters(text: str) -> bytes:
    """The characters of a text that JSON has to escape beside quotes, U+0000 to U+001F, in their order."""
    codes = np.frombuffer(text.encode(), np.uint8)
    return codes[codes < _FIRST_PRINTABLE].tobytes()


FORMULA_ERRORS: Final = (
    "#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#ERROR!", "#SPILL!", "#CALC!"
)  # fmt: skip
"""What a spreadsheet shows where a formula ended in an error."""
ANY_FORMULA_ERROR: Final = "|".join(FORMULA_ERRORS).replace("?", r"\?")
"""The same as a regular expression."""
_SPOILED: Final = rf"[+-]?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{{2,3}}|[0-9]+\.0+|{ANY_FORMULA_ERROR}"
"""What a spreadsheet leaves of an id: a rounded number, `1.23457E+11`, a fraction of one, `1234.0`, or a
formula's error, `#N/A`.

Several ids look the same then. A serial number such as `12E3`, `5E10` or `7E+1` is neither: a spreadsheet
writes one digit before the point, a sign and two digits of exponent at least."""
_IS_SPOILED: Final = re.compile(_SPOILED).fullmatch


def is_spoiled_id(text: str) -> bool:
    """Whether an id, trimmed, is what a spreadsheet left of one: see `_SPOILED`."""
    return _IS_SPOILED(text) is not None


def spoiled_ids(cells: Sequence[str | None]) -> list[int]:
    """Which ids of a column are spoiled. One look at all of them tells that almost always none is."""
    text = "".join(filter(None, cells))
    if "+" not in text and "#" not in text and ".0" not in text:
        return []
    return [at for at, cell in enumerate(cells) if cell is not None and is_spoiled_id(cell)]


def _kept_id(text: str) -> str:
    """Refuse a spoiled id."""
    if is_spoiled_id(text):
        raise fault(Code.BAD_ID)
    return text


_Digits = Annotated[int, Strict(), AfterValidator(str)]

IdText = Annotated[
    Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, max_length=MAX_ID, pattern=ID_LINE),
        WithJsonSchema(text_schema(MAX_ID)),
    ]
    | _Digits,
    Field(union_mode="left_to_right"),
]
PaymentIdText = Annotated[
    IdText,
    AfterValidator(_kept_id),
    WithJsonSchema(
        {
            "anyOf": [
                {**text_schema(MAX_ID), "not": {"pattern": rf"^\s*(?:{_SPOILED})\s*$"}},
                {"type": "integer"},
            ]
        }
    ),
]
"""An id of a payment, which may have been in a spreadsheet. Batches are `IdText`, then `spoiled_ids`."""
LineText = Annotated[
    Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, max_length=MAX_CELL, pattern=ONE_LINE),
        WithJsonSchema(text_schema(MAX_CELL)),
    ]
    | _Digits,
    Field(union_mode="left_to_right"),
]
NoteText = Annotated[
    Annotated[
        str,
        StringConstraints(strict=True, strip_whitespace=True, max_length=MAX_CELL, pattern=MANY_LINES),
        WithJsonSchema(text_schema(MAX_CELL, many_lines=True)),
    ]
    | _Digits,
    Field(union_mode="left_to_right"),
]
