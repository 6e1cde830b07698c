"""Payments of the Odyssey standard into rows: names, meters, digits of numbers, and what is unreadable."""

import contextlib
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pull_double import answer, item

from producers import pull_json
from producers.errors import FileRefused
from producers.pull_rows import ROWS_AT_ONCE, check_answer, row_batches
from producers.rows import Origin, RowRecords
from producers.table_rows import Row, TableRow, UnreadableRow
from schemas.outcomes import Code
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Pseudonymizer, Sealer

AT = "2024-05-01T08:00:00.000000Z"
RECORDS = RowRecords("t", Pseudonymizer(b"0" * 32), Sealer(b"1" * 32))
ORIGIN = Origin("org", "ds", "", "pull", "ref", datetime(2024, 5, 2, tzinfo=UTC))


class Slowly:
    """A source that gives few bytes at a time, so that every value is cut somewhere."""

    def __init__(self, data: bytes, at_once: int) -> None:
        self._data, self._at_once = io.BytesIO(data), at_once

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, self._at_once))


def rows(body: bytes, at_once: int = 1 << 20) -> list[Row]:
    """All rows of an answer."""
    return [row for batch in row_batches(Slowly(body, at_once)) for row in batch]


def raw(text: str) -> bytes:
    """An answer with one payment as it is written."""
    return f'{{"payments":[{text}],"errors":""}}'.encode()


def cells(**changes: Any) -> dict[str, Any]:
    """Cells of one payment."""
    (row,) = rows(answer(item(1, AT, **changes)))
    assert isinstance(row, TableRow)
    return row.cells


def faults(found: dict[str, Any]) -> dict[str, Code]:
    """Field → code of what the validation has against a row, as it stands in the topic."""
    (record,) = RECORDS.of(ORIGIN, [TableRow(1, found)], 4)
    verdict = PaymentValidator().validate([json.loads(record.value)], [PaymentContext("pull")])
    return {error.field: error.code for error in verdict.errors.get(0, [])}


def test_every_member_has_its_field() -> None:
    """The names of the standard become those of the table; what is not in it is kept under `custom`."""
    members = {
        "timestamp": AT, "amount": 1500, "currency": "NGN", "transactionType": "FULL_PAYMENT",
        "transactionId": "T1", "serialNumber": "S1", "customerId": "C1", "customerName": "N",
        "customerPhone": "+1", "customerCategory": "Residential", "agentId": 12, "latitude": "6.5",
        "longitude": 3.25, "tariff": {"name": "A", "rate": 1.50}, "units": 4.20, "active": True,
        "gone": None, "blank": "",
    }  # fmt: skip
    (row,) = rows(answer(members))
    assert row == TableRow(
        1,
        {
            "TIMESTAMP": AT, "PAYMENT_AMOUNT": "1500", "PAYMENT_CURRENCY": "NGN",
            "TRANSACTION_TYPE": "FULL_PAYMENT", "ID": "T1",
            "METER_ID": "S1", "CUSTOMER_ID": "C1", "CUSTOMER_NAME": "N", "CUSTOMER_PHONE": "+1",
            "CUSTOMER_CATEGORY": "Residential", "AGENT_ID": "12", "LATITUDE": "6.5", "LONGITUDE": "3.25",
            "custom": {"tariff": '{"name":"A","rate":"1.5"}', "units": "4.2", "active": "true"},
        },
    )  # fmt: skip
    assert faults(row.cells) == {}


@pytest.mark.parametrize("none", ["N/A", "n/a", " N/A ", "-", "", "null", None])
def test_a_placeholder_makes_way_for_the_meters_id(none: str | None) -> None:
    """METER_ID is the serial number, else the meter's id; a row with neither is refused for it."""
    assert cells(serialNumber=none, meterId="M1")["METER_ID"] == "M1"
    assert "EXTERNAL_ID" not in cells(serialNumber=none, meterId="M1")
    assert faults(cells(serialNumber=none, meterId=none)) == {"METER_ID": Code.MISSING}
    assert cells(serialNumber="S1", meterId=none).get("EXTERNAL_ID") is None


def test_both_numbers_are_kept() -> None:
    """Beside a serial number the meter's id is the second candidate of matching; a copy of it is not."""
    both = cells(serialNumber="S1", meterId="M1")
    assert (both["METER_ID"], both["EXTERNAL_ID"]) == ("S1", "M1")
    assert "EXTERNAL_ID" not in cells(serialNumber="S1", meterId="S1")
    assert faults(cells(serialNumber=["S1"], meterId="M1")) == {"METER_ID": Code.WRONG_TYPE}
    assert cells(serialNumber="007", meterId=None)["METER_ID"] == "007"


@pytest.mark.parametrize(
    "digits", ["5000", "-5000.10", "0.1", "5e3", "1234567890123456789.123456789", "0.000000001", "-0.50"]
)
def test_amounts_keep_their_digits(digits: str) -> None:
    """An amount is what was sent, to the last digit: no float is between it and the ledger."""
    (row,) = rows(raw(json.dumps(item(1, AT, amount=0)).replace('"amount": 0', f'"amount": {digits}')))
    assert isinstance(row, TableRow)
    assert row.cells["PAYMENT_AMOUNT"] == digits
    verdict = PaymentValidator().validate([row.cells], [PaymentContext("pull")])
    assert verdict.columns["payment_amount"] == [Decimal(digits)]


@pytest.mark.parametrize(
    ("member", "text", "expected"),
    [
        ("amount", "true", {"PAYMENT_AMOUNT": Code.WRONG_TYPE}),
        ("amount", "[1]", {"PAYMENT_AMOUNT": Code.WRONG_TYPE}),
        ("amount", '"1,000.50"', {"PAYMENT_AMOUNT": Code.BAD_DECIMAL}),
        ("amount", "1e999", {"PAYMENT_AMOUNT": Code.OUT_OF_RANGE}),
        ("amount", "9" * 60, {"PAYMENT_AMOUNT": Code.OUT_OF_RANGE}),
        ("timestamp", "1714550400", {"TIMESTAMP": Code.WRONG_TYPE}),
        ("timestamp", "1e999", {"TIMESTAMP": Code.WRONG_TYPE}),
        ("transactionId", "45987.0", {"ID": Code.WRONG_TYPE}),
        ("transactionId", "9" * 40, {}),
        ("transactionId", '"N/A"', {"ID": Code.MISSING}),
        ("customerPhone", "2.34567E+11", {"CUSTOMER_PHONE": Code.BAD_PHONE}),
        ("customerPhone", "1e999", {"CUSTOMER_PHONE": Code.BAD_PHONE}),
        ("customerName", '{"first":"A"}', {"CUSTOMER_NAME": Code.WRONG_TYPE}),
        ("customerCategory", "1e999", {"CUSTOMER_CATEGORY": Code.WRONG_TYPE}),
        ("customerId", '"N/A"', {"CUSTOMER_ID": Code.MISSING}),
        ("currency", "566", {"PAYMENT_CURRENCY": Code.WRONG_TYPE}),
        ("latitude", "91.5", {"LATITUDE": Code.BAD_COORDINATES}),
        ("latitude", "-6.524400000000000000001", {}),
        ("transactionType", '"full payment"', {}),
    ],
)
def test_values_of_another_type_get_their_verdict(member: str, text: str, expected: dict[str, Code]) -> None:
    """A value of the wrong type is refused as the same JSON is by the API; no number is made a text first."""
    good = item(1, AT, customerCategory="x")
    (row,) = rows(
        raw("{" + ",".join(f'"{n}":{text if n == member else json.dumps(v)}' for n, v in good.items()) + "}")
    )
    assert isinstance(row, TableRow)
    assert faults(row.cells) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("null", Code.NOT_OBJECT),
        ("[1,2]", Code.NOT_OBJECT),
        ('"John Doe"', Code.NOT_OBJECT),
        ("12.50", Code.NOT_OBJECT),
        ('{"amount":1,"amount":2}', Code.REPEATED_MEMBER),
        ('{"extra":[{"Jane":{"a":1,"a":2}}]}', Code.REPEATED_MEMBER),
        ('{"customerName":"\\ud83d"}', Code.UNREADABLE_ROW),
    ],
)
def test_items_that_are_no_payments_are_rows_too(text: str, code: Code) -> None:
    """They keep their text, sealed later, and the place in the answer; the others are not held up."""
    good = json.dumps(item(1, AT))
    found = rows(raw(f"{good},{text},{good}"))
    assert [type(row) for row in found] == [TableRow, UnreadableRow, TableRow]
    assert [row.line for row in found] == [1, 2, 3]
    assert isinstance(found[1], UnreadableRow)
    assert (found[1].raw, found[1].code) == (text, code)
    assert "John" not in found[1].detail


def test_an_empty_payment_is_a_row() -> None:
    """It is received, and refused for what is missing."""
    assert rows(raw("{}")) == [TableRow(1, {})]


@pytest.mark.parametrize("letter", ["x", "@", "0", " "])
def test_a_payment_longer_than_a_record_is_unreadable_in_the_topic(letter: str) -> None:
    """It is received under its line, and ends quarantined as too large; it takes no time to see that."""
    found = rows(answer(item(1, AT, blob=letter * 999_000 + "x")))
    (record,) = RECORDS.of(ORIGIN, found, 4)
    assert dict(record.headers)["unreadable"] == Code.TOO_LARGE.encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    st.sampled_from([*item(1, AT), "meterId", "agentId", "custom", "ID", "payments", "errors"]) | st.text()
)


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=6), max_size=8), st.integers(1, 40), st.booleans())
def test_whatever_is_sent_becomes_rows(payments: list[dict[str, Any]], at_once: int, escaped: bool) -> None:
    """Any JSON, however it arrives, gives one row a payment, which the topic and the validation take."""
    body = json.dumps({"payments": payments, "errors": None}, ensure_ascii=escaped).encode("utf-8", "replace")
    assert check_answer(Slowly(body, at_once)) == len(payments)
    found = rows(body, at_once)
    assert [row.line for row in found] == list(range(1, len(payments) + 1))
    assert found == rows(body)
    values = [json.loads(record.value) for record in RECORDS.of(ORIGIN, found, 4)]
    PaymentValidator().validate(values, [PaymentContext("pull")] * len(values))


@given(st.binary(max_size=60), st.integers(1, 7))
def test_no_bytes_raise_anything_else(body: bytes, at_once: int) -> None:
    """An answer is taken or refused, whatever it is."""
    for start in (b"", b'{"payments":', b'{"payments":[', b'{"payments":[],"errors":'):
        with contextlib.suppress(FileRefused):
            check_answer(Slowly(start + body, at_once))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.EMPTY_FILE),
        (b"  \n ", Code.EMPTY_FILE),
        (b"<!DOCTYPE html><html>", Code.NOT_JSON),
        (b"Too many connections", Code.NOT_JSON),
        (b"[]", Code.NOT_OBJECT),
        (b'"x"', Code.NOT_OBJECT),
        (b"null", Code.NOT_OBJECT),
        (b"{}", Code.MISSING),
        (b'{"data":[]}', Code.MISSING),
        (b'{"Payments":[]}', Code.MISSING),
        (b'{"payments":{}}', Code.WRONG_TYPE),
        (b'{"payments":null,"errors":""}', Code.WRONG_TYPE),
        (b'{"payments":[],"payments":[]}', Code.WRONG_TYPE),
        (b'{"payments":[]', Code.NOT_JSON),
        (b'{"payments":[1,]}', Code.NOT_JSON),
        (b'{"payments":[],}', Code.NOT_JSON),
        (b'{"payments":[]} {"payments":[]}', Code.NOT_JSON),
        (b'{"payments":[NaN]}', Code.NOT_JSON),
        (b'{"payments":[{"a":tru', Code.NOT_JSON),
        (b'{"payments":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", Code.NOT_JSON),
        (b'{"payments":["\xff"]}', Code.BAD_ENCODING),
        ('{"payments":["é"]}'.encode("utf-16"), Code.BAD_ENCODING),
        (b'{"payments":["' + b"x" * 2_000_000 + b'"]}', Code.TOO_LARGE),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(body: bytes, code: Code) -> None:
    """The reason says what was found and what is expected."""
    with pytest.raises(FileRefused) as told:
        check_answer(io.BytesIO(body))
    assert told.value.code is code
    assert told.value.detail


@pytest.mark.parametrize("errors", ["x", ["x"], {"a": 1}, True, 3])
def test_an_answer_that_reports_an_error_is_refused(errors: Any) -> None:
    """Whatever stands there and wherever it stands; its words are not repeated, for they may name people."""
    for body in (
        answer(item(1, AT), errors=errors),
        json.dumps({"errors": errors, "payments": None}).encode(),
        json.dumps({"errors": errors}).encode(),
    ):
        with pytest.raises(FileRefused) as told:
            check_answer(io.BytesIO(body))
        assert told.value.code is Code.SOURCE_ERROR


@pytest.mark.parametrize("errors", ["", "  ", None, [], {}, False, 0])
def test_an_answer_without_an_error_is_taken(errors: Any) -> None:
    """Vendors say nothing in several ways; other members, a byte order mark and white space are no matter."""
    body = json.dumps(
        {"meta": {"page": 1}, "errors": errors, "payments": [item(1, AT)], "next": None}, indent=2
    )
    assert check_answer(io.BytesIO(b"\xef\xbb\xbf" + body.encode() + b"\r\n")) == 1


def test_memory_does_not_grow_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many payments there are, no more text is held than one read and one payment."""
    held = []
    more = pull_json.JsonText._more

    def noted(self: pull_json.JsonText) -> bool:
        found = more(self)
        held.append(len(self._text))
        return found

    monkeypatch.setattr(pull_json.JsonText, "_more", noted)
    body = answer(*[item(number, AT) for number in range(10_000)])
    assert len(body) > 2_000_000
    sizes = [len(batch) for batch in row_batches(io.BytesIO(body))]
    assert sum(sizes) == 10_000
    assert max(sizes) == ROWS_AT_ONCE
    assert max(held) < 70_000
