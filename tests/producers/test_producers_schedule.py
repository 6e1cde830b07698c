"""When scheduled runs are due."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from producers.contracts import Polls
from producers.schedule import LONGEST_PAUSE, BadSchedule, is_due, pause_after

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
NONE = timedelta(0)
MANY = [f"ds_{number}" for number in range(500)]


def polls(hours_ago: float | None, failures: int = 0, failed_minutes_ago: float = 0) -> Polls:
    """A dataset whose latest scheduled run began so long ago."""
    last = None if hours_ago is None else NOW - timedelta(hours=hours_ago)
    return Polls(last, failures, NOW - timedelta(minutes=failed_minutes_ago) if failures else None)


def beginnings(schedule: str, dataset_id: str, days: int, jitter: timedelta) -> list[datetime]:
    """When a dataset begins if it is looked at every half minute."""
    last, now, found = NOW - timedelta(days=2), NOW, []
    while now < NOW + timedelta(days=days):
        if is_due(dataset_id, schedule, Polls(last), now, jitter):
            found.append(now)
            last = now
        now += timedelta(seconds=30)
    return found


@pytest.mark.parametrize(
    ("schedule", "hours_ago", "due"),
    [
        ("daily", None, True),
        ("daily", 24, True),
        ("daily", 0, False),
        ("11:30", None, True),
        ("11:30", 0.4, False),
        ("11:30", 0.6, True),
        ("12:30", 1, False),
        ("12:30", 23.6, True),
        ("0.5", 0.0001, False),
        ("0.5", 0.001, True),
        ("3600", 1, True),
    ],
)
def test_due(schedule: str, hours_ago: float | None, due: bool) -> None:
    """Daily and a clock time are once a day, a number is so many seconds after the latest run."""
    assert is_due("ds_1", schedule, polls(hours_ago), NOW, NONE) is due


@pytest.mark.parametrize("schedule", ["", "weekly", "25:00", "7:5", "-1", "12:00:00"])
def test_bad_schedule(schedule: str) -> None:
    """Another text is refused rather than never or always due."""
    for known in (polls(None), polls(1), polls(1, failures=1)):
        with pytest.raises(BadSchedule):
            is_due("ds_1", schedule, known, NOW)


@pytest.mark.parametrize("schedule", ["daily", "00:00", "23:59"])
def test_every_day_once_at_the_same_time(schedule: str) -> None:
    """A dataset begins once a day, at its own moment, which does not drift; over midnight as well."""
    found = beginnings(schedule, "ds_1", 5, timedelta(hours=2))
    regular = found[1:]
    assert len(regular) >= 4
    assert {later - earlier for earlier, later in pairwise(regular)} == {timedelta(days=1)}


def test_datasets_of_one_time_are_spread_over_the_jitter() -> None:
    """None begins before its time or after the window, and they do not begin together."""
    jitter = timedelta(minutes=10)
    at = NOW.replace(hour=12)
    due = [
        sum(
            is_due(name, "12:00", Polls(NOW - timedelta(hours=6)), at + part * jitter, jitter)
            for name in MANY
        )
        for part in (-0.001, 0, 0.25, 0.5, 0.75, 1)
    ]
    assert due[0] == 0
    assert due[-1] == len(MANY)
    assert all(80 < later - earlier < 170 for earlier, later in pairwise(due[1:]))


def test_daily_datasets_are_spread_over_the_day() -> None:
    """Of datasets that all ran at one moment, about as many begin in each hour of the next day."""
    last = NOW.replace(hour=0)
    at_six = sum(is_due(name, "daily", Polls(last), last + timedelta(hours=6)) for name in MANY)
    assert 90 < at_six < 160


@pytest.mark.parametrize("schedule", ["60", "daily", "12:30"])
def test_failed_runs_are_repeated_with_growing_pauses(schedule: str) -> None:
    """Not at once, then later each time, at most an hour; a short schedule is slowed down by it too."""
    assert not is_due("ds_1", schedule, polls(0.1, failures=1, failed_minutes_ago=0.5), NOW)
    assert is_due("ds_1", schedule, polls(0.1, failures=1, failed_minutes_ago=1), NOW)
    assert not is_due("ds_1", schedule, polls(0.1, failures=4, failed_minutes_ago=5), NOW)
    assert is_due("ds_1", schedule, polls(0.1, failures=4, failed_minutes_ago=8), NOW)
    assert is_due("ds_1", schedule, polls(2, failures=1000, failed_minutes_ago=60), NOW)
    pauses = [pause_after("ds_1", failures) for failures in range(1, 12)]
    assert pauses[0] <= timedelta(minutes=1)
    assert max(pauses) <= LONGEST_PAUSE
    assert pauses[5] > 10 * pauses[0]
    assert len({pause_after(name, 1) for name in MANY}) == len(MANY), "they do not come back together"


def test_the_time_of_day_comes_before_the_pause() -> None:
    """A dataset that failed just before its time begins at its time."""
    assert is_due("ds_1", "12:00", polls(23, failures=9, failed_minutes_ago=1), NOW, NONE)
