"""Which windows are due, and what the names of their readings tell."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from producers.pull_windows import (
    DAY,
    LATE_DAYS,
    Window,
    due_windows,
    place_of,
    reading_of,
    settled_days,
    source_ref,
)

URL = "https://crm.example.org/api/payments?tenant=7"
PLACE = place_of(URL)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2024, 3, 1), timezones=st.just(UTC))
DAYS = st.dates(date(2023, 12, 20), date(2024, 3, 5))


def day(text: str) -> Window:
    """A whole day."""
    start = datetime.combine(date.fromisoformat(text), time(), UTC)
    return Window(start, start + DAY)


def ref(window: Window, content: str = "c" * 64, url: str = URL) -> str:
    """The name of a reading of a window."""
    return source_ref(url, "ds_1", window, "run_0-1", content)


@given(DAYS, MOMENTS, st.sets(DAYS))
def test_windows_cover_everything_that_is_not_settled(since: date, now: datetime, settled: set[date]) -> None:
    """At most 24 hours each, without a gap up to the present second; settled days alone are left out."""
    windows = list(due_windows(since, now, frozenset(settled)))
    until = now.replace(microsecond=0)
    assert all(timedelta(0) < window.end - window.start <= DAY for window in windows)
    assert all(one.end <= two.start for one, two in pairwise(windows))
    asked = {window.start.date() for window in windows}
    assert not asked & settled
    start = datetime.combine(since, time(), UTC)
    whole = {
        (start + n * DAY).date() for n in range(max((until - start).days + 1, 0)) if start + n * DAY < until
    }
    assert asked == whole - settled
    if windows and windows[-1].start.date() == until.date():
        assert windows[-1].end == until


@given(DAYS, MOMENTS)
def test_the_present_may_be_told_in_any_zone(since: date, now: datetime) -> None:
    """Days are days of UTC, whatever zone the clock of the machine has."""
    elsewhere = now.astimezone(timezone(timedelta(hours=-11)))
    windows = list(due_windows(since, now, frozenset()))
    assert list(due_windows(since, elsewhere, frozenset())) == windows
    assert all(window.from_text.endswith("T00:00:00Z") for window in windows)


def test_a_name_tells_what_was_read() -> None:
    """Host, dataset, window, place, run and content are in it; path, query and user of the address not."""
    window = day("2024-05-01")
    name = ref(window, url="https://u:p@crm.example.org:8443/secret/path?tenant=7")
    assert name.startswith("pull://crm.example.org:8443/ds_1/2024-05-01T00:00:00Z/2024-05-02T00:00:00Z@")
    assert name.endswith("-run_0-1-cccccccccccc")
    assert not any(part in name for part in ("secret", "tenant", "u:p"))
    reading = reading_of(ref(window))
    assert reading is not None
    assert reading.window == window
    assert reading.is_of(PLACE, "c" * 64)
    assert not reading.is_of(PLACE, "d" * 64)
    assert not reading.is_of(place_of(URL + "x"), "c" * 64)
    refused = reading_of(source_ref(URL, "ds_1", window, "run_1", None))
    assert refused is not None
    assert not refused.is_of(PLACE, "c" * 64)


@given(st.text())
def test_other_names_are_none_of_ours(text: str) -> None:
    """A file of another channel, or a damaged name, is no reading."""
    assert reading_of(text) is None
    assert reading_of(f"pull://h/ds/2024-13-01T00:00:00Z/2024-05-02T00:00:00Z@{text}") is None
    assert reading_of("s3://bucket/ELECTRICITY_PAYMENT.csv@1") is None


def test_a_day_is_settled_when_it_was_read_late_enough() -> None:
    """Completely, from this place, and some days after its end: one second less is not enough."""
    window = day("2024-05-01")
    late = window.end + LATE_DAYS * DAY
    second = timedelta(seconds=1)
    part = Window(window.start, window.end - second)
    other = ref(window, url="https://other.example.org/")
    assert settled_days([(ref(window), late)], PLACE) == {date(2024, 5, 1)}
    assert settled_days([(ref(window), late - second), (other, late), ("x", late)], PLACE) == frozenset()
    assert settled_days([(ref(part), late)], PLACE) == frozenset()
    assert settled_days([(ref(window), late - second), (ref(window, "d" * 64), late)], PLACE)
