"""When scheduled runs are due."""

from datetime import UTC, datetime, timedelta

import pytest

from producers.schedule import BadSchedule, is_due

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "hours_ago", "due"),
    [
        ("daily", None, True),
        ("daily", 23.9, False),
        ("daily", 24, True),
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
    """Daily is a day after the latest run, a clock time once a day, a number so many seconds after."""
    last = None if hours_ago is None else NOW - timedelta(hours=hours_ago)
    assert is_due(schedule, last, NOW) is due


@pytest.mark.parametrize("schedule", ["", "weekly", "25:00", "7:5", "-1", "12:00:00"])
def test_bad_schedule(schedule: str) -> None:
    """Another text is refused rather than never or always due."""
    with pytest.raises(BadSchedule):
        is_due(schedule, None, NOW)
