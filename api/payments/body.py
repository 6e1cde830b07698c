"""From the bytes of a request to rows as they will travel: numbers stay exact, and bad rows stand alone.

A direct publisher's record is read by orjson, which makes a binary float of every number with a fraction.
Nothing is lost by that as long as the float's shortest text is the number that was sent; then the cell is
the float here too, and gets the same verdict. A number with more digits than a float holds travels as its
text in a decimal field, where every digit counts, and as the float elsewhere.
"""

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

import orjson
from pydantic import ValidationError

from api.errors import BodyTooLarge, Invalid, MalformedBody
from api.payments.schemas import PaymentsRequest
from api.problems import field_problems
from api.repeated import refuse_repeated
from producers.table_rows import MAX_RAW_CHARS, Row, TableRow, UnreadableRow
from schemas.faults import SENTENCES
from schemas.fields import ALIASES, FIELDS
from schemas.json_members import NumberText, all_members, may_repeat, members, repeated_member, sentence
from schemas.outcomes import Code

MAX_ROW_BYTES: Final = 256 * 1024
"""Longest payment as JSON, in bytes: with its sealed originals it must fit a record that a worker takes."""
_EXACT_INTEGERS: Final = range(-(2**63), 2**64)
"""Integers that JSON readers hold exactly; greater ones become floats."""
_INTEGER_DIGITS: Final = 20
_DECIMALS: Final = frozenset(field.name for field in FIELDS if field.kind == "decimal")
_EXACT_NAMES: Final = _DECIMALS | {alias for alias, name in ALIASES.items() if name in _DECIMALS}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A request: `dataset_id` or None, and one row per payment, its line the position counted from 1."""

    dataset_id: str | None
    rows: list[Row]


class _Number(NumberText):
    """The text of a number that a float does not hold; also of NaN and the infinities, which are none."""

    __slots__ = ()


class _NotJson(ValueError):
    """A payment that cannot travel as JSON."""


def parse(body: bytes, most: int) -> Parsed:
    """The rows of a request.

    Raises:
        MalformedBody: not JSON in UTF-8, or nested too deeply.
        Invalid: a field of the request as a whole breaks a rule, or stands in it twice.
        BodyTooLarge: more than `most` payments.
    """
    odd: list[bool] = []

    def whole(text: str) -> int | _Number:
        if len(text) <= _INTEGER_DIGITS and (number := int(text)) in _EXACT_INTEGERS:
            return number
        odd.append(True)
        return _Number(text)

    def broken(text: str) -> float | _Number:
        number = float(text)
        if math.isfinite(number) and (repr(number) == text or Decimal(repr(number)) == Decimal(text)):
            return number
        odd.append(True)
        return _Number(text)

    def no_number(text: str) -> _Number:
        odd.append(True)
        return _Number(text)

    read = partial(json.loads, parse_int=whole, parse_float=broken, parse_constant=no_number)
    try:
        text = body.decode()
        value = read(text)
        if may_repeat(body, value):
            value = read(text, object_pairs_hook=members)
    except (ValueError, RecursionError):
        raise MalformedBody from None
    refuse_repeated(value)
    request = _request(value, most)
    rows = [_row(line, item, bool(odd)) for line, item in enumerate(request.payments, 1)]
    return Parsed(request.dataset_id, rows)


def _request(value: Any, most: int) -> PaymentsRequest:
    try:
        request = PaymentsRequest.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise Invalid(errors=field_problems(faults)) from None
    if len(request.payments) > most:
        raise BodyTooLarge(f"One request takes at most {most} payments; send several requests.")
    return request


def _row(line: int, item: Any, odd: bool) -> Row:
    if not isinstance(item, dict):
        return _unreadable(line, item, Code.NOT_OBJECT)
    if (name := repeated_member(item)) is not None:
        return UnreadableRow(line, all_members(item)[:MAX_RAW_CHARS], Code.REPEATED_MEMBER, sentence(name))
    try:
        cells = {name: _cell(value, name in _EXACT_NAMES) for name, value in item.items()} if odd else item
        size = len(orjson.dumps(cells))
    except (_NotJson, orjson.JSONEncodeError, RecursionError):
        return _unreadable(line, item, Code.NOT_JSON)
    if size > MAX_ROW_BYTES:
        return _unreadable(line, item, Code.TOO_LARGE)
    return TableRow(line, cells)


def _cell(value: Any, exact: bool = False) -> Any:
    """A value without `_Number`s; `exact` keeps such a number as its text."""
    match value:
        case _Number():
            number = float(value)
            if exact and any(map(str.isdigit, value)):
                return str(value)
            if not math.isfinite(number):
                raise _NotJson
            return number
        case dict():
            return {name: _cell(part) for name, part in value.items()}
        case list():
            return [_cell(part) for part in value]
    return value


def _unreadable(line: int, item: Any, code: Code) -> UnreadableRow:
    raw = json.dumps(item, ensure_ascii=False, separators=(",", ":"))[:MAX_RAW_CHARS]
    return UnreadableRow(line, raw, code, SENTENCES[code])
