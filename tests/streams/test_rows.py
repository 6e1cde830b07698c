"""Records into rows: whatever a record holds, one row comes out, with the reasons why it is bad."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import position
from schemas.origins import OriginSigner
from streams.rows import Row, RowReader
from tests.streams.made import batch_of, record

SIGNER = OriginSigner(b"secret")
ORG = ("organization_id", b"org_a")
GOOD = b'{"ID": "P1"}'


def read(*records: Any, epoch: int = 0, partition: int = 0) -> list[Row]:
    """Rows of records."""
    return RowReader(epoch, SIGNER).read(batch_of(records, partition=partition))


def one(value: bytes | None = GOOD, *headers: tuple[str, Any]) -> Row:
    """The row of one record."""
    return read(record(0, value, headers))[0]


def test_lineage_comes_from_the_headers() -> None:
    """Every header a producer may set is carried over."""
    row = one(
        GOOD, ORG, ("dataset_id", b"ds_1"), ("source", b"s3"), ("source_ref", b"file@v1"), ("line", b"17"),
        ("received_at", b"2026-01-01T00:00:01.500+00:00"),
        ("replay_of", SIGNER.sign("replay_of", "org_a", 12)),
    )  # fmt: skip
    assert (row.organization_id, row.dataset_id, row.source) == ("org_a", "ds_1", "s3")
    assert (row.source_ref, row.line, row.replay_of) == ("file@v1", 17, 12)
    assert row.received_ms == 1_767_225_601_500
    assert row.reasons == []


def test_positions_are_of_epoch_partition_and_offset() -> None:
    """The position names the record for ever."""
    rows = read(record(5, GOOD, [ORG]), record(9, GOOD, [ORG]), epoch=2, partition=3)
    assert [row.position for row in rows] == [position(2, 3, 5), position(2, 3, 9)]


def test_an_origin_signed_by_a_worker_is_the_position() -> None:
    """A forwarded row keeps the position at which it was received."""
    row = one(GOOD, ORG, ("origin", SIGNER.sign("origin", "org_a", 77)))
    assert (row.position, row.forwarded, row.reasons) == (77, True, [])


@pytest.mark.parametrize(
    "origin",
    [
        b"77",
        b"77:",
        b"78:" + SIGNER.sign("origin", "org_a", 77).split(b":")[1],
        OriginSigner(b"other").sign("origin", "org_a", 77),
        b"-1:x",
        b"\xff",
    ],
)
def test_a_forged_origin_is_refused(origin: bytes) -> None:
    """No publisher can pass a row off as another's: the position stays that of the record."""
    row = one(GOOD, ORG, ("origin", origin))
    assert (row.position, row.forwarded, row.reasons) == (0, False, ["bad_header"])


@pytest.mark.parametrize(
    "replay",
    [
        b"12",
        SIGNER.sign("replay_of", "org_b", 12),
        SIGNER.sign("origin", "org_a", 12),
        OriginSigner(b"other").sign("replay_of", "org_a", 12),
    ],
)
def test_nobody_marks_a_row_of_another_as_replayed(replay: bytes) -> None:
    """A replay is signed by a worker, as a replay and for its organisation."""
    row = one(GOOD, ORG, ("replay_of", replay))
    assert (row.replay_of, row.reasons) == (None, ["bad_header"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("line", b"x"), ("line", b"-1"), ("line", b"4294967296"), ("line", b"9" * 5000),
        ("received_at", b"yesterday"), ("received_at", b"0001-01-01T00:00:00+00:00"),
        ("received_at", b"9999-12-31T23:59:59-12:00"), ("received_at", b"\xff"),
        ("replay_of", b"12"), ("replay_of", b"-1"), ("replay_of", b"18446744073709551616"),
        ("dataset_id", b"\xff"), ("organization_id", b"\xff\xfe"), ("source", b"\x80"),
        ("organization_id", None), ("source_ref", None),
    ],
)  # fmt: skip
def test_a_bad_header_is_a_reason(name: str, value: bytes | None) -> None:
    """A header that cannot be what it says quarantines its row and no other."""
    rows = read(record(0, GOOD, [ORG, (name, value)]), record(1, GOOD, [ORG]))
    assert [row.reasons for row in rows] == [["bad_header"], []]
    assert rows[0].line == 0
    assert rows[0].replay_of is None


@pytest.mark.parametrize(
    "header", [("organization_id", b"org_b"), ORG, ("source_ref", b"f"), ("origin", b"1:x")]
)
def test_a_header_that_stands_there_twice_is_a_bad_one(header: tuple[str, bytes]) -> None:
    """Which of two organisations owns a row, nobody can say; headers of others do not matter."""
    assert one(GOOD, ORG, header, header).reasons == ["bad_header"]
    assert one(GOOD, ("trace", b"1"), ORG, ("trace", b"2")).reasons == []


def test_a_row_with_a_header_twice_stays_its_organisations() -> None:
    """Everything is taken over that is said once: its owner finds it among his refused rows."""
    row = one(GOOD, ORG, ("source_ref", b"f"), ("line", b"2"), ("line", b"2"))
    assert (row.reasons, row.organization_id, row.source_ref, row.line) == (["bad_header"], "org_a", "f", 0)
    twice = one(GOOD, ORG, ORG, ("line", b"x"))
    assert (twice.reasons, twice.organization_id) == (["bad_header"], "")


def test_an_unreadable_row_says_why() -> None:
    """A reader's code is taken over when it is one of ours; the raw text is no value."""
    rows = [one(GOOD, ORG, ("unreadable", code)) for code in (b"too_large", b"no such code")]
    assert [row.reasons for row in rows] == [["too_large"], ["unreadable_row"]]
    assert [row.value for row in rows] == [None, None]


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "not_json"), (b"", "not_json"), (b"no", "not_json"), (b"\xff\xfe", "not_json"),
        (b"NaN", "not_json"), (b'{"a": NaN}', "not_json"), (b'{"a": Infinity}', "not_json"),
        (b'{"a": "\\ud800"}', "not_json"), (b'{"a": 1} {"b": 2}', "not_json"), (DEEP, "not_json"),
        (b"[" * 100_000, "not_json"), (b"[1]", "not_object"), (b'"text"', "not_object"),
        (b"null", "not_object"), (b"17", "not_object"),
    ],
)  # fmt: skip
def test_garbage_is_a_reason(value: bytes | None, code: str) -> None:
    """What is no JSON object has no value, and its row a reason."""
    row = one(value, ORG)
    assert (row.value, row.reasons) == (None, [code])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b'{"PAYMENT_AMOUNT": "1", "ID": "P1", "PAYMENT_AMOUNT": "2"}', "repeated_member:PAYMENT_AMOUNT"),
        (b'{"ID": "P1", "custom": {"Jane": 1, "Jane": 2}}', "repeated_member"),
    ],
)
def test_a_member_that_stands_twice_is_a_reason(value: bytes, why: str) -> None:
    """Which of the two counts nobody knows, so neither does; the rows beside it pass."""
    rows = read(record(0, GOOD, [ORG]), record(1, value, [ORG]), record(2, GOOD, [ORG]))
    assert [row.reasons for row in rows] == [[], [why], []]
    assert [row.value is None for row in rows] == [False, True, False]


def test_each_record_has_its_own_organisation() -> None:
    """Records with the same single header share the work, not the answer."""
    given = [[ORG], [ORG], [("organization_id", b"org_b")], [], [("source", b"s3")], [ORG]]
    rows = read(*[record(number, GOOD, headers) for number, headers in enumerate(given)])
    assert [row.organization_id for row in rows] == ["org_a", "org_a", "org_b", "", "", "org_a"]


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["organization_id", "line", "received_at", "origin", "replay_of", "unreadable", "x"]),
        st.none() | st.binary(max_size=30),
    ),
    max_size=4,
)


@given(value=st.none() | st.binary(max_size=50), headers=HEADERS)
def test_no_record_stops_the_others(value: bytes | None, headers: list[tuple[str, Any]]) -> None:
    """Whatever comes, there is one row a record, in order, and the row beside it is read."""
    rows = read(record(0, value, headers), record(1, orjson.dumps({"ID": 1}), [ORG]))
    assert [row.record.offset for row in rows] == [0, 1]
    assert rows[1].value == {"ID": 1}
    assert rows[1].reasons == []
