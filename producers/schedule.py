"""When a dataset's next scheduled run is due."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

DAILY: Final = "daily"
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII).fullmatch
_SECONDS: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII).fullmatch


class BadSchedule(ValueError):
    """The text is none of `daily`, `HH:MM` and a number of seconds."""


def is_due(schedule: str, last: datetime | None, now: datetime) -> bool:
    """Whether a run is due, the latest one having begun at `last` (both aware).

    A dataset that never ran is due at once. `daily` is a day after the latest run, `HH:MM` is every day
    at that time of UTC, a number is that many seconds after the latest run.

    Raises:
        BadSchedule: the schedule cannot be read.
    """
    clock, seconds = _CLOCK(schedule), _SECONDS(schedule)
    if clock:
        at = now.astimezone(UTC).replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        latest_due = at if at <= now else at - timedelta(days=1)
        return last is None or last < latest_due
    if schedule == DAILY:
        pause = timedelta(days=1)
    elif seconds:
        pause = timedelta(seconds=float(schedule))
    else:
        raise BadSchedule(schedule)
    return last is None or last + pause <= now
