"""The one validation of reads, and the body that devices post."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.content import HASH_VERSION
from schemas.outcomes import Code
from schemas.read_requests import MeterReadsRequest, judge
from schemas.reads import CLOCK_TOLERANCE_MS, ReadValidator, check_history, read_content_hash

NOW = 1_750_000_000_000
PINNED = 0x1F0C662D5FD09DA


def ms(text: str) -> int:
    """Milliseconds of an ISO text."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def read(**changes: Any) -> dict[str, Any]:
    """A good read; a change to None leaves the field out."""
    cells = {
        "device_external_id": "dev-1",
        "type": "Delta",
        "start": "2024-05-01T10:00:00Z",
        "end": "2024-05-01T10:15:00Z",
        "value": 1.25,
        "unit": "kWh",
        **changes,
    }
    return {name: cell for name, cell in cells.items() if cell is not None}


def faults(cells: dict[str, Any]) -> dict[str, Code]:
    """Field → code of the faults of one read."""
    return {error.field: error.code for error in ReadValidator().validate([cells], NOW).errors.get(0, [])}


def test_good_read_is_in_wh_with_the_raw_value_kept() -> None:
    """1.25 kWh are 1250 Wh; instants are milliseconds of UTC."""
    batch = ReadValidator().validate([read()], NOW)
    assert {name: column[0] for name, column in batch.columns.items()} == {
        "device_external_id": "dev-1",
        "type": "Delta",
        "start": ms("2024-05-01T10:00:00"),
        "end": ms("2024-05-01T10:15:00"),
        "value_wh": Decimal(1250),
        "raw_value": Decimal("1.25"),
        "raw_unit": "kWh",
    }
    assert batch.content_hash[0] >> 56 == HASH_VERSION


@pytest.mark.parametrize(
    ("value", "unit", "wh"),
    [
        (1, "Wh", "1"),
        ("1.5", "kWh", "1500"),
        (2, "MWh", "2000000"),
        ("0.000000001", "GWh", "1"),
        (0, "Wh", "0"),
        (0.1 + 0.2, "kWh", "300"),
        (1e-12, "Wh", "0"),
        ("+5", "Wh", "5"),
    ],
)
def test_units(value: Any, unit: str, wh: str) -> None:
    """Values are normalised to Wh exactly; only the noise of binary floats is rounded away."""
    batch = ReadValidator().validate([read(value=value, unit=unit)], NOW)
    assert batch.columns["value_wh"] == [Decimal(wh)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "delta"}, {"type": Code.UNKNOWN_TYPE}),
        ({"type": None}, {"type": Code.MISSING, "start": None}),
        ({"unit": "J"}, {"unit": Code.UNKNOWN_UNIT}),
        ({"unit": None}, {"unit": Code.MISSING}),
        ({"value": None}, {"value": Code.MISSING}),
        ({"value": -1}, {"value": Code.OUT_OF_RANGE}),
        ({"value": "-0.1"}, {"value": Code.OUT_OF_RANGE}),
        ({"value": float("nan")}, {"value": Code.OUT_OF_RANGE}),
        ({"value": float("inf")}, {"value": Code.OUT_OF_RANGE}),
        ({"value": "1e400"}, {"value": Code.OUT_OF_RANGE}),
        ({"value": "1,5"}, {"value": Code.BAD_DECIMAL}),
        ({"value": True}, {"value": Code.WRONG_TYPE}),
        ({"value": [1]}, {"value": Code.WRONG_TYPE}),
        ({"value": "9" * 29, "unit": "GWh"}, {"value": Code.OUT_OF_RANGE}),
        ({"start": None}, {"start": Code.MISSING}),
        ({"end": None}, {"end": Code.MISSING}),
        ({"end": "2024-05-01T10:00:00Z"}, {"end": Code.END_BEFORE_START}),
        ({"end": "2024-05-01T09:00:00Z"}, {"end": Code.END_BEFORE_START}),
        ({"start": "x"}, {"start": Code.BAD_TIMESTAMP}),
        ({"end": "2024-05-01"}, {"end": Code.BAD_TIMESTAMP}),
        ({"end": True}, {"end": Code.WRONG_TYPE}),
        ({"end": (NOW + CLOCK_TOLERANCE_MS + 1000) / 1000}, {"end": Code.END_IN_FUTURE}),
        ({"start": 1_700_000_000_000}, {"start": Code.TIMESTAMP_OUT_OF_RANGE}),
        ({"device_external_id": "N/A"}, {"device_external_id": Code.MISSING}),
        ({"device_external_id": 1.5}, {"device_external_id": Code.WRONG_TYPE}),
    ],
)
def test_faults(changes: dict[str, Any], expected: dict[str, Code | None]) -> None:
    """Every fault has its field and code, and only one."""
    assert faults(read(**changes)) == {field: code for field, code in expected.items() if code}


def test_register_value_needs_no_start() -> None:
    """An Aggregate is a register's value at its end; a start is accepted and must lie before it."""
    batch = ReadValidator().validate([read(type="Aggregate", start=None)], NOW)
    assert batch.columns["start"] == [None]
    assert faults(read(type="Aggregate", end="2024-05-01T09:00:00Z")) == {"end": Code.END_BEFORE_START}


def test_clock_of_a_device_may_be_a_little_ahead() -> None:
    """An end up to five minutes ahead of ours is accepted."""
    assert faults(read(end=(NOW + CLOCK_TOLERANCE_MS) / 1000)) == {}


def test_epoch_seconds_are_the_same_instant_as_text() -> None:
    """Numbers are seconds since 1970, texts ISO 8601."""
    start, end = ms("2024-05-01T10:00:00") // 1000, ms("2024-05-01T10:15:00") / 1000
    numbers, texts = (
        ReadValidator().validate([cells], NOW).columns for cells in (read(start=start, end=end), read())
    )
    assert numbers == texts


def test_content_is_the_energy_whatever_the_unit() -> None:
    """1 kWh and 1000 Wh are the same content, 1001 Wh are another."""
    batch = ReadValidator().validate(
        [read(value=1), read(value="1000.0", unit="Wh"), read(value=1001, unit="Wh")], NOW
    )
    assert batch.content_hash[0] == batch.content_hash[1] != batch.content_hash[2]
    assert read_content_hash(Decimal("1000.000000")) == batch.content_hash[0] == PINNED


def test_bad_rows_cost_their_neighbours_nothing() -> None:
    """Good reads between bad ones are stored."""
    batch = ReadValidator().validate([read(value=-1), read(), read(unit="x"), {}], NOW)
    assert batch.valid == [1]
    assert set(batch.errors) == {0, 2, 3}


@pytest.mark.parametrize(
    ("kind", "start", "end", "onboarded", "code"),
    [
        ("History", "2021-03-01T00:00:00", "2022-01-01T00:00:00", "2024-02-29T00:00:00", None),
        (
            "History",
            "2021-02-27T23:59:59",
            "2022-01-01T00:00:00",
            "2024-02-29T00:00:00",
            Code.HISTORY_TOO_OLD,
        ),
        ("History", "2021-01-01T00:00:00", "2024-01-01T00:00:00", "2024-01-01T00:00:00", None),
        (
            "History",
            "2023-01-01T00:00:00",
            "2024-01-01T00:00:01",
            "2024-01-01T00:00:00",
            Code.HISTORY_AFTER_ONBOARDING,
        ),
        ("History", "2001-01-01T00:00:00", "2002-01-01T00:00:00", None, None),
        ("Delta", "2001-01-01T00:00:00", "2025-01-01T00:00:00", "2024-01-01T00:00:00", None),
    ],
)
def test_history(kind: str, start: str, end: str, onboarded: str | None, code: Code | None) -> None:
    """History lies before onboarding and begins at most three calendar years before it."""
    assert check_history(kind, ms(start), ms(end), ms(onboarded) if onboarded else None) == code


_JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=25)
    | st.sampled_from(["Delta", "kWh", "2024-05-01T10:00:00Z"])
    | st.lists(st.integers(), max_size=2)
)


@given(st.lists(st.dictionaries(st.sampled_from([*read(), "other"]), _JSON), max_size=5))
def test_any_object_gets_a_verdict(rows: list[dict[str, Any]]) -> None:
    """Whatever a publisher sends, every read has one verdict."""
    batch = ReadValidator().validate(rows, NOW)
    assert sorted([*batch.valid, *batch.errors]) == list(range(len(rows)))


def request(**changes: Any) -> MeterReadsRequest:
    """A posted body."""
    posted = {"starttimestamp": "2024-05-01T10:00:00", "endtimestamp": "2024-05-01T10:15:00", "value": 1}
    return MeterReadsRequest.model_validate({"type": "Delta", "unit": "kWh", "reads": [posted], **changes})


def test_body_becomes_topic_rows() -> None:
    """The seed's body gives one row per read, with the device and its type and unit."""
    judged = judge(request(), "dev-1", NOW)
    assert judged.rows == [
        read(value=1, start="2024-05-01T10:00:00", end="2024-05-01T10:15:00"),
    ]
    assert judged.rejected == []


def test_local_times_of_a_body() -> None:
    """A time without a zone is in the body's time zone; others are left as they are."""
    reads = [
        {"starttimestamp": "2024-05-01T10:00:00.5", "endtimestamp": 1714558500, "value": 1},
        {"starttimestamp": "2024-05-01T10:00:00Z", "endtimestamp": "2024-05-01 10:15:00+00:00", "value": 1},
        {"starttimestamp": "nonsense", "endtimestamp": "2024-05-01T10:15:00", "value": 1},
    ]
    judged = judge(request(timezone="Africa/Nairobi", reads=reads), "dev-1", NOW)
    assert [row["start"] for row in judged.rows] == [
        "2024-05-01T07:00:00.500Z",
        "2024-05-01T10:00:00Z",
        "nonsense",
    ]
    assert judged.rows[0]["end"] == 1714558500
    assert [(fault.index, fault.code) for fault in judged.rejected] == [(2, Code.BAD_TIMESTAMP)]


def test_hour_that_summer_time_repeats() -> None:
    """The first of the two is meant."""
    reads = [{"starttimestamp": "2024-10-27T02:30:00", "endtimestamp": "2024-10-27T03:30:00", "value": 1}]
    judged = judge(request(timezone="Europe/Berlin", reads=reads), "dev-1", NOW)
    assert judged.rows[0]["start"] == "2024-10-27T00:30:00.000Z"
    assert judged.rows[0]["end"] == "2024-10-27T02:30:00.000Z"


def test_rejected_reads_are_rows_too() -> None:
    """Each fault names the read's place in the body; all reads stay rows, since all were received."""
    good = {"starttimestamp": "2024-05-01T10:00:00", "endtimestamp": "2024-05-01T10:15:00", "value": 1}
    judged = judge(
        request(reads=[good, {**good, "value": -1, "starttimestamp": None}, "text", None]), "d", NOW
    )
    assert len(judged.rows) == 4
    assert [(fault.index, fault.code) for fault in judged.rejected] == [
        (1, Code.OUT_OF_RANGE),
        (1, Code.MISSING),
        (2, Code.NOT_OBJECT),
        (3, Code.NOT_OBJECT),
    ]
    assert judged.rejected[1].detail.startswith("starttimestamp: ")
    errors = ReadValidator().validate(judged.rows, NOW).errors
    assert set(errors) == {1, 2, 3}


@pytest.mark.parametrize(
    "changes",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"timezone": ""},
        {"type": "Other"},
        {"unit": "J"},
        {"reads": []},
        {"reads": {}},
        {"reads": [None] * 10_001},
        {"extra": 1},
    ],
)
def test_body_that_is_no_request(changes: dict[str, Any]) -> None:
    """A body with a wrong type, unit, zone or size is refused as a whole."""
    with pytest.raises(ValidationError):
        request(**changes)
