"""Cells of personal fields: the same verdict for the plain value, its pseudonym and its fault token.

A value with a fault cannot be kept in plain text and would lose its fault as a pseudonym, so a
producer puts a token in its place that names the fault and reveals nothing else.
"""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from schemas.cells import (
    ANY_FORMULA_ERROR,
    FORMULA_ERRORS,
    LineText,
    NoteText,
    has_control_character,
    plain_text,
    text_schema,
)
from schemas.faults import fault
from schemas.fields import MAX_CELL, Field
from schemas.outcomes import Code

TOKEN_PREFIX: Final = "!fault:"  # noqa: S105 - a mark, not a secret
"""Begins a fault token; a reason code follows."""

_PSEUDONYM_LENGTH: Final = 64
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{64}").fullmatch
# What a spreadsheet makes of a telephone number: 2.34567E+11 or 2,34567E+11, and 234567890123.0. Digits are
# lost in the first, the leading zero in both, so neither is repaired.
_FLOAT_PHONE: Final = re.compile(r"[+-]?\d+(?:[.,]0*|(?:[.,]\d*)?[eE][+-]?\d+)", re.ASCII).fullmatch
_REFUSED_WITH: Final = (
    Code.WRONG_TYPE, Code.CONTROL_CHARACTER, Code.TOO_LONG, Code.BAD_PHONE, Code.FORMULA_ERROR
)  # fmt: skip
_TOKENS: Final = {TOKEN_PREFIX + code.value: code for code in _REFUSED_WITH}


def token(code: Code) -> str:
    """The text that stands in a personal field for a value refused with `code`."""
    return TOKEN_PREFIX + code.value


def token_fault(text: str) -> Code | None:
    """The fault that a token stands for; None for any other text."""
    return _TOKENS.get(text)


def is_protected(value: Any) -> bool:
    """True for a pseudonym and for a fault token, which reveal nothing."""
    return isinstance(value, str) and (_PSEUDONYM(value) is not None or value in _TOKENS)


def personal_fault(field: Field, value: Any) -> Code | None:
    """The fault of a plain value of a personal field; None for a good one. Never asked for a missing one."""
    text = plain_text(value)
    if text is None:
        is_phone_number = field.kind == "phone" and isinstance(value, float)
        return Code.BAD_PHONE if is_phone_number else Code.WRONG_TYPE
    if len(text) > MAX_CELL:
        return Code.TOO_LONG
    if has_control_character(text, many_lines=field.kind == "note"):
        return Code.CONTROL_CHARACTER
    if text in FORMULA_ERRORS:
        # all customers whose name is lost would be one person
        return Code.FORMULA_ERROR
    return Code.BAD_PHONE if field.kind == "phone" and _is_float_phone(text) else None


def _is_float_phone(text: str) -> bool:
    """True for a decimal number; not for a pseudonym that happens to be digits around one `e`."""
    return len(text) < _PSEUDONYM_LENGTH and _FLOAT_PHONE(text) is not None


def _kept(text: str) -> str:
    """Refuse what a spreadsheet left of a value, and raise the fault a token stands for."""
    if text.startswith((TOKEN_PREFIX, "#")):
        code = Code.FORMULA_ERROR if text in FORMULA_ERRORS else token_fault(text)
        if code:
            raise fault(code)
    return text


def _no_float(value: Any) -> Any:
    """Refuse a telephone number that is a JSON float."""
    if isinstance(value, float):
        raise fault(Code.BAD_PHONE)
    return value


def _phone(text: str) -> str:
    """Refuse a telephone number that a spreadsheet turned into a decimal number."""
    if _is_float_phone(text):
        raise fault(Code.BAD_PHONE)
    return _kept(text)


def _schema(*, but: str = ANY_FORMULA_ERROR, many_lines: bool = False) -> WithJsonSchema:
    """JSON Schema of a personal value: a text that is, trimmed, not of the form `but`, or a whole number."""
    text = {**text_schema(MAX_CELL, many_lines=many_lines), "not": {"pattern": rf"^\s*(?:{but})\s*$"}}
    return WithJsonSchema({"anyOf": [text, {"type": "integer"}]})


PersonalLine = Annotated[LineText, AfterValidator(_kept), _schema()]
PersonalNote = Annotated[NoteText, AfterValidator(_kept), _schema(many_lines=True)]
_FLOAT_PHONE_TEXT: Final = r"[+-]?[0-9]+(?:[.,]0*|(?:[.,][0-9]*)?[eE][+-]?[0-9]+)"
PersonalPhone = Annotated[
    LineText,
    BeforeValidator(_no_float),
    AfterValidator(_phone),
    _schema(but=f"{_FLOAT_PHONE_TEXT}|{ANY_FORMULA_ERROR}"),
]
