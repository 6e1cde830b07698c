"""Timestamps: the listed forms, UTC, and nothing guessed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from schemas.outcomes import Code
from schemas.timestamps import END_MS, MIN_MS, epoch_ms, parse_timestamp, timestamp_cell

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def code_of(text: str) -> str:
    """Code with which a timestamp is refused."""
    with pytest.raises(PydanticCustomError) as refused:
        timestamp_cell(text)
    return refused.value.type


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021-05-16T14:16:01", "2021-05-16T14:16:01.000"),
        ("2021-05-16T14:16:01.5", "2021-05-16T14:16:01.500"),
        ("2021-05-16T14:16:01.123456789Z", "2021-05-16T14:16:01.123"),
        ("2021-05-16T14:16:01.999Z", "2021-05-16T14:16:01.999"),
        ("2021-05-16T14:16:01+01:00", "2021-05-16T13:16:01.000"),
        ("2021-05-16T14:16:01+0100", "2021-05-16T13:16:01.000"),
        ("2021-05-16 14:16:01+00:00", "2021-05-16T14:16:01.000"),
        ("2021-05-16 14:16:01+00", "2021-05-16T14:16:01.000"),
        ("2021-05-16T14:16:01\u00a0", "2021-05-16T14:16:01.000"),
        ("\u00a0 2021-05-16T14:16:01Z\u2003\u00a0", "2021-05-16T14:16:01.000"),
        (" 2021-05-16 14:16:01 ", "2021-05-16T14:16:01.000"),
        ("2021-05-16T00:30:00+14:00", "2021-05-15T10:30:00.000"),
        ("2021-05-16T23:30:00-14:00", "2021-05-17T13:30:00.000"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00.000"),
        ("2299-12-31T23:59:59.999Z", "2299-12-31T23:59:59.999"),
    ],
)
def test_accepted_forms(text: str, expected: str) -> None:
    """Every listed form gives the instant it means, in UTC milliseconds."""
    ms = timestamp_cell(text)
    assert ms is not None
    assert (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")[:23] == expected


@pytest.mark.parametrize(
    "text",
    [
        "2021-05-16T24:00:00",
        "2021-02-29T00:00:00",
        "2021-13-01T00:00:00",
        "2021-05-16T14:60:00",
        "2021-05-16T14:16:60",
        "2021-05-16T14:16",
        "2021-05-16",
        "20210516T141601",
        "2021-W20-7T14:16:01",
        "16/05/2021 14:16:01",
        "2021-05-16T14:16:01+14:01",
        "2021-05-16T14:16:01+15:00",
        "2021-05-16T14:16:01,5",
        "2021-05-16t14:16:01z",
        "2021-05-16T14:16:01 Z",
        "٢٠٢١-05-16T14:16:01",
        "1621174561",
        "0000-01-01T00:00:00",
        "2021-05-16T14:16:01" + "Z" * 10_000,
    ],
)
def test_refused_forms(text: str) -> None:
    """Other forms are refused; 24:00 and leap seconds are no times."""
    assert code_of(text) == Code.BAD_TIMESTAMP


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59",
        "1899-12-31T23:59:59.999Z",
        "2300-01-01T00:00:00Z",
        "1900-01-01T00:00:00+01:00",
    ],
)
def test_years_out_of_range(text: str) -> None:
    """Instants before 1900 and after 2299 are refused as such, counted in UTC."""
    assert code_of(text) == Code.TIMESTAMP_OUT_OF_RANGE


@given(
    st.datetimes(min_value=datetime(1900, 1, 2), max_value=datetime(2299, 12, 30)),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", " "]),
)
def test_any_moment_survives(moment: datetime, minutes: int, separator: str) -> None:
    """A moment written with any offset is read as the same instant."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (aware - EPOCH) // timedelta(milliseconds=1)
    # Python cuts nothing off; below a millisecond we do, toward the past.
    assert parse_timestamp(aware.isoformat(sep=separator)) == expected


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader raise anything but its own refusals."""
    try:
        ms = timestamp_cell(text)
    except PydanticCustomError:
        return
    assert ms is None or MIN_MS <= ms < END_MS


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_epoch_seconds(seconds: float) -> None:
    """Epoch seconds are milliseconds of UTC, or out of range; NaN and infinity are out of range."""
    if MIN_MS <= seconds * 1000 < END_MS:
        assert abs(epoch_ms(seconds) - seconds * 1000) <= 1
    else:
        with pytest.raises(PydanticCustomError, match="refused") as refused:
            epoch_ms(seconds)
        assert refused.value.type == Code.TIMESTAMP_OUT_OF_RANGE


def test_epoch_seconds_keep_their_milliseconds() -> None:
    """A float that cannot hold a millisecond exactly still means it."""
    assert epoch_ms(1_700_000_000.001) == 1_700_000_000_001
    assert epoch_ms(1_700_000_000) == 1_700_000_000_000
