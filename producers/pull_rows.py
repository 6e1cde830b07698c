"""Payments of a pull API into rows: items of the Odyssey standard to the canonical cells of a payment.

Names are those of product.md, "Odyssey-standard pull API". What an item means is judged later, by the one
validation; here it only gets the names and the forms that a row of any other channel has.
"""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from producers.errors import FileRefused
from producers.pull_json import JsonText
from producers.table_rows import MAX_RAW_CHARS, Row, TableRow, UnreadableRow
from producers.text_lines import BinarySource
from schemas.cells import is_missing
from schemas.fields import BY_NAME, CUSTOM
from schemas.json_members import Members, NumberText, repeated_member, sentence
from schemas.outcomes import Code

COLUMNS: Final = {
    "timestamp": "TIMESTAMP",
    "amount": "PAYMENT_AMOUNT",
    "currency": "PAYMENT_CURRENCY",
    "transactionType": "TRANSACTION_TYPE",
    "transactionId": "ID",
    "customerId": "CUSTOMER_ID",
    "customerName": "CUSTOMER_NAME",
    "customerPhone": "CUSTOMER_PHONE",
    "customerCategory": "CUSTOMER_CATEGORY",
    "agentId": "AGENT_ID",
    "latitude": "LATITUDE",
    "longitude": "LONGITUDE",
}
"""Member of an item → field. `serialNumber` and `meterId` are told apart in `_meter`."""
_METERS: Final = ("serialNumber", "meterId")
_NUMBERS: Final = frozenset({"decimal", "latitude", "longitude"})
_TEXTS: Final = frozenset({"id", "text", "note", "phone"})
ROWS_AT_ONCE: Final = 500
"""Most rows of a batch."""


def check_answer(body: BinarySource) -> int:
    """Read an answer to its end; returns how many payments are in it.

    `errors` stands behind the payments, so no row may be published before the answer was read once.

    Raises:
        FileRefused: it is no answer of the standard, or says that something went wrong.
    """
    return sum(1 for _ in _items(body))


def row_batches(body: BinarySource) -> Iterator[list[Row]]:
    """The rows of an answer that was checked, in lists of at most `ROWS_AT_ONCE`; lines are items from 1."""
    rows = (_row(line, item, text) for line, (item, text) in enumerate(_items(body), start=1))
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        yield batch


def _items(body: BinarySource) -> Iterator[tuple[Any, str]]:
    """Each item of `payments` and its text; what is wrong with the answer as a whole is told at its end."""
    text = JsonText(body)
    _begin(text)
    found = wrong = failed = False
    more = text.peek() != "}"
    while more:
        if text.peek() != '"':
            text.take('"')
        name, _ = text.value()
        text.take(":")
        if name == "payments" and not found and text.peek() == "[":
            found = True
            yield from _elements(text)
        else:
            value, _ = text.value()
            wrong = wrong or name == "payments"
            failed = failed or (name == "errors" and _says_something(value))
        if text.peek() == "}":
            break
        text.take(",}")
    text.take("}")
    if text.peek():
        raise FileRefused(Code.NOT_JSON, "the answer is no JSON: something stands behind its end")
    _judge(found, wrong, failed)


def _begin(text: JsonText) -> None:
    """Take the brace that opens the answer.

    Raises:
        FileRefused: it begins in another way.
    """
    first = text.peek()
    if not first:
        raise FileRefused(Code.EMPTY_FILE, 'the answer is empty, expected {"payments": […], "errors": ""}')
    if first == "<":
        raise FileRefused(Code.NOT_JSON, "the answer is a page of HTML or XML, expected JSON")
    if first in '["-0123456789tfn':
        raise FileRefused(Code.NOT_OBJECT, 'the answer is no JSON object, expected {"payments": […]}')
    text.take("{")


def _elements(text: JsonText) -> Iterator[tuple[Any, str]]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.take(",]") == "]":
            return


def _says_something(errors: Any) -> bool:
    """Whether `errors` tells of one: anything but nothing, an empty text or list, and a count of 0."""
    if isinstance(errors, NumberText):
        return errors != "0"
    return bool(errors.strip() if isinstance(errors, str) else errors)


def _judge(found: bool, wrong: bool, failed: bool) -> None:
    """Refuse an answer as a whole. What `errors` says is not repeated: it may name people."""
    if failed:
        detail = "the API reports an error: `errors` of its answer is not empty; its own logs say more"
        raise FileRefused(Code.SOURCE_ERROR, detail)
    if wrong:
        raise FileRefused(Code.WRONG_TYPE, "`payments` of the answer is not one list, expected a list")
    if not found:
        raise FileRefused(Code.MISSING, "the answer has no `payments`, expected a list")


def _row(line: int, item: Any, text: str) -> Row:
    """One item as a row."""
    if not isinstance(item, Members):
        return _unreadable(line, text, Code.NOT_OBJECT, "the payment is no JSON object")
    if (name := repeated_member(item)) is not None:
        return _unreadable(line, text, Code.REPEATED_MEMBER, sentence(name, (*COLUMNS, *_METERS)))
    try:
        cells = _cells(item)
        if "\\u" in text:
            json.dumps(item, ensure_ascii=False).encode()
    except RecursionError:
        return _unreadable(line, text, Code.UNREADABLE_ROW, "the payment is nested too deeply")
    except UnicodeEncodeError:
        return _unreadable(line, text, Code.UNREADABLE_ROW, "a text in the payment is cut inside a letter")
    return TableRow(line, cells)


def _unreadable(line: int, text: str, code: Code, detail: str) -> UnreadableRow:
    return UnreadableRow(line, text[:MAX_RAW_CHARS], code, detail)


def _cells(item: Members) -> dict[str, Any]:
    """Cells by canonical name, unknown members under `custom`; nothing for what has no value."""
    given = {COLUMNS[name]: value for name, value in item.items() if name in COLUMNS}
    given.update(_meter(item.get("serialNumber"), item.get("meterId")))
    cells = {name: _cell(BY_NAME[name].kind, value) for name, value in given.items() if not _empty(value)}
    custom = {
        name: _text(value)
        for name, value in item.items()
        if name not in COLUMNS and name not in _METERS and not _empty(value)
    }
    return {**cells, CUSTOM: custom} if custom else cells


def _empty(value: Any) -> bool:
    return value is None or value == ""


def _meter(serial: Any, meter: Any) -> dict[str, Any]:
    """METER_ID is the serial number, or the meter's id where that is a placeholder (product.md, profiles).

    Where both are given the meter's id is the EXTERNAL_ID: the second candidate of matching.
    """
    if is_missing(serial):
        return {"METER_ID": meter}
    if is_missing(meter) or meter == serial:
        return {"METER_ID": serial}
    return {"METER_ID": serial, "EXTERNAL_ID": meter}


def _cell(kind: str, value: Any) -> Any:
    """A value in the form in which it gets the verdict that the same JSON gets from the API."""
    if isinstance(value, NumberText):
        whole = value.removeprefix("-").isdigit()
        return str(value) if kind in _NUMBERS or (whole and kind in _TEXTS) else _no_text(value)
    if isinstance(value, str | bool):
        return value
    return [_text(value)]  # an object or a list, which no field takes


def _no_text(number: str) -> float:
    """A number where none belongs: it stays one, and is refused. Its digits play no part any more."""
    limit = sys.float_info.max  # infinity would become `null`, and that is no fault
    return max(-limit, min(limit, float(number)))


def _text(value: Any) -> str:
    """The text of any value; one of several parts as JSON, its numbers by their digits."""
    if isinstance(value, str):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
