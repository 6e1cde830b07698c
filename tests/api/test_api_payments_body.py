"""Numbers and texts of a request's rows: exact, and judged as the same JSON on the topic is."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Invalid, MalformedBody
from api.payments.body import parse
from api.payments.service import judge
from producers.rows import Origin, RowRecords
from producers.table_rows import TableRow, UnreadableRow
from schemas.faults import SENTENCES
from schemas.fields import FIELDS
from schemas.outcomes import Code
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Pseudonymizer, Sealer
from tests.schemas.payment_rows import row

SECRET = b"0123456789abcdef"
ORIGIN = Origin("org_1", "", "", "api", "rcp_1", datetime(2026, 1, 1, tzinfo=UTC))
API = PaymentContext("api")


def sent(cell: str, name: str = "PAYMENT_AMOUNT") -> bytes:
    """A request of one good payment, but for the JSON text of one cell."""
    text = json.dumps({**row(), name: "CELL"}).replace('"CELL"', cell)
    return f'{{"payments": [{text}]}}'.encode()


def told(body: bytes) -> list[tuple[str, str | None]]:
    """Code and field of every fault of a request's one payment."""
    rows = RowRecords("payments", Pseudonymizer(SECRET), Sealer(SECRET))
    records = list(rows.of(ORIGIN, parse(body, 10).rows, 4))
    faults = judge(records, [rows.given_up("org_1", record) for record in records], API)
    return [(fault.code, fault.field) for found in faults for fault in ((found, *found.further))]


def test_what_the_reader_knew_of_a_row_is_told() -> None:
    """The sender hears why a row could not be read, not only the sentence of its code."""
    rows = RowRecords("payments", Pseudonymizer(SECRET), Sealer(SECRET))
    unread = [
        UnreadableRow(line, "text", Code.NOT_JSON, detail) for line, detail in ((1, "why it was"), (2, ""))
    ]
    records = list(rows.of(ORIGIN, unread, 4))
    faults = judge(records, [rows.given_up("org_1", record) for record in records], API)
    assert [fault.detail for fault in faults] == ["why it was", SENTENCES[Code.NOT_JSON]]


def on_the_topic(value: bytes) -> list[tuple[str, str | None]]:
    """The same of a direct publisher's record, as a worker judges it."""
    try:
        cells = orjson.loads(value)
    except orjson.JSONDecodeError:
        return [("not_json", None)]
    if not isinstance(cells, dict):
        return [("not_object", None)]
    Pseudonymizer(SECRET).protect("org_1", cells)
    errors = PaymentValidator().validate([cells], [API]).errors
    return [(error.code, error.field) for found in errors.values() for error in found]


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("5000", 5000),
        ("0.1", 0.1),
        ("5000.00", 5000.0),
        ("1e3", 1000.0),
        ("-0", 0),
        ("123456789012345678.123456789", "123456789012345678.123456789"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("0.1000000000000000000001", "0.1000000000000000000001"),
        ("1e400", "1e400"),
        ('"007"', "007"),
    ],
)
def test_amounts_are_published_exactly(text: str, published: Any) -> None:
    """A number that a float holds is published as it is; one that would lose digits, as its text."""
    (found,) = parse(sent(text), 10).rows
    assert isinstance(found, TableRow)
    assert found.cells["PAYMENT_AMOUNT"] == published
    assert type(found.cells["PAYMENT_AMOUNT"]) is type(published)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("PAYMENT_AMOUNT", "0.1000000000000000000001", "out_of_range"),
        ("PAYMENT_AMOUNT", "1e400", "out_of_range"),
        ("TRANSACTION CHARGES", "1e400", "out_of_range"),
        ("PAYMENT_AMOUNT", "true", "wrong_type"),
        ("ID", "12345678901234567890123", "wrong_type"),
        ("ID", "1.5", "wrong_type"),
        ("METER_ID", "1e400", "not_json"),
        ("PAYMENT_AMOUNT", "NaN", "not_json"),
        ("PAYMENT_AMOUNT", "-Infinity", "not_json"),
        ("NOTES", '"\\ud800"', "not_json"),
        ("anything", '{"deep": [NaN]}', "not_json"),
        ("CUSTOMER_PHONE", "234567890123.5", "bad_phone"),
    ],
)
def test_what_no_cell_can_be_is_the_rows_matter(name: str, text: str, code: str) -> None:
    """Each is a fault of that payment with its code; the request as a whole is fine."""
    assert [fault[0] for fault in told(sent(text, name))] == [code]


def test_a_good_row_is_not_held_up_by_a_bad_one() -> None:
    """NaN and half a letter beside a good payment: it goes, they are kept for correction, sealed."""
    good = json.dumps(row())
    body = f'{{"payments": [{good}, {{"ID": NaN}}, {{"ID": "\\udead"}}, 7, {good}]}}'.encode()
    rows = parse(body, 10).rows
    assert [type(found) for found in rows] == [
        TableRow,
        UnreadableRow,
        UnreadableRow,
        UnreadableRow,
        TableRow,
    ]
    assert [found.line for found in rows] == [1, 2, 3, 4, 5]
    assert [found.raw for found in rows if isinstance(found, UnreadableRow)][2] == "7"


def test_nesting_without_an_end_is_no_json() -> None:
    """A body nested deeper than the reader goes is 400; a row too deep for a record is its own matter."""
    with pytest.raises(MalformedBody):
        parse(sent("[" * 100_000), 10)
    assert told(sent("[" * 400 + "]" * 400, "x")) == [("not_json", None)]


CELLS = st.one_of(
    st.text(max_size=12),
    st.integers(-(2**70), 2**70).filter(lambda n: -(2**63) <= n < 2**64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.lists(st.integers(0, 3), max_size=2),
    st.sampled_from(["2.34567E+11", "1,5", "-", "N/A", "24:00", "CFA", "full payment", "a\u0000b"]),
)


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in FIELDS]) | st.text(max_size=6), CELLS, max_size=6
    )
)
def test_the_verdict_is_that_of_the_topic(changes: dict[str, Any]) -> None:
    """Whatever a payment holds, a request and a direct publisher's record of the same JSON fare alike."""
    value = json.dumps({**row(), **changes}).encode()
    assert sorted(told(b'{"payments": [' + value + b"]}"), key=str) == sorted(on_the_topic(value), key=str)


def test_a_member_that_stands_twice_refuses_its_payment_alone() -> None:
    """Which of two amounts was meant nobody knows; both are sealed, and the payments beside it go."""
    good = json.dumps(row())
    twice = good.replace('"PAYMENT_AMOUNT"', '"PAYMENT_AMOUNT": "1", "PAYMENT_AMOUNT"')
    nested = good[:-1] + ', "extra": {"Jane": 1, "Jane": 2}}'
    body = f'{{"payments": [{good}, {twice}, {nested}, {good}]}}'.encode()
    first, broken, hidden, last = parse(body, 10).rows
    assert [type(first), type(last)] == [TableRow, TableRow]
    assert isinstance(broken, UnreadableRow)
    assert isinstance(hidden, UnreadableRow)
    assert (broken.code, "`PAYMENT_AMOUNT`" in broken.detail) == (Code.REPEATED_MEMBER, True)
    assert '"PAYMENT_AMOUNT":"1","PAYMENT_AMOUNT":"5000"' in broken.raw
    assert (hidden.code, "Jane" in hidden.detail) == (Code.REPEATED_MEMBER, False)


@pytest.mark.parametrize("depth", [150, 400, 900])
def test_a_member_that_stands_twice_in_what_is_nested_deeply(depth: int) -> None:
    """Neither the look at it nor what is kept of it runs out of stack."""
    deep = '{"a":' * depth + '{"b":1,"b":2}' + "}" * depth
    (found,) = parse(sent(deep, "extra"), 10).rows
    assert isinstance(found, UnreadableRow)
    assert found.code in (Code.REPEATED_MEMBER, Code.NOT_JSON)


def test_a_list_of_payments_that_stands_twice_refuses_the_request() -> None:
    """One of the two lists would be lost."""
    with pytest.raises(Invalid) as told_:
        parse(b'{"payments": [], "payments": []}', 10)
    (fault,) = told_.value.errors
    assert (fault.code, "`payments`" in fault.detail) == ("repeated_member", True)
