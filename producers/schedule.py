"""When a dataset's next scheduled run is due."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from producers.contracts import Polls

DAILY: Final = "daily"
JITTER: Final = timedelta(minutes=10)
"""How long after its time of day a dataset may begin, at most."""
FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII).fullmatch
_SECONDS: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII).fullmatch


class BadSchedule(ValueError):
    """The text is none of `daily`, `HH:MM` and a number of seconds."""


def is_due(dataset_id: str, schedule: str, polls: Polls, now: datetime, jitter: timedelta = JITTER) -> bool:
    """Whether a run is due (all moments aware).

    A dataset that never ran is due at once. Afterwards `daily` is once a day, at a moment of the dataset's
    own; `HH:MM` is every day within `jitter` after that time of UTC, again at a moment of its own; a
    number is that many seconds after the latest run began. So datasets of one schedule do not all begin
    in the same second. Runs that fail are repeated with growing pauses (`pause_after`): until the next
    time of day, or instead of a shorter number of seconds.

    Raises:
        BadSchedule: the schedule cannot be read.
    """
    every = _seconds(schedule)
    if polls.failures and polls.failed_at is not None:
        if now >= polls.failed_at + pause_after(dataset_id, polls.failures):
            return True
        if every is not None:
            return False
    last = polls.scheduled_at
    if last is None:
        return True
    if every is not None:
        return last + every <= now
    return last < _latest_time(dataset_id, schedule, now, jitter)


def pause_after(dataset_id: str, failures: int) -> timedelta:
    """How long to wait after so many failures in a row: doubled each time, a little apart per dataset."""
    pause: timedelta = min(FIRST_PAUSE * 2 ** min(failures - 1, 20), LONGEST_PAUSE)
    return pause * (0.75 + share(f"{dataset_id} {failures}") / 4)


def share(text: str) -> float:
    """A number from 0 up to 1 that is always the same for a text, and evenly spread over many."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _seconds(schedule: str) -> timedelta | None:
    """The pause of a schedule that is a number; None if it is a time of day."""
    if _SECONDS(schedule):
        return timedelta(seconds=float(schedule))
    if schedule == DAILY or _CLOCK(schedule):
        return None
    raise BadSchedule(schedule)


def _latest_time(dataset_id: str, schedule: str, now: datetime, jitter: timedelta) -> datetime:
    """The dataset's latest time of day, at or before now."""
    clock = _CLOCK(schedule)
    if clock:
        after_midnight = timedelta(hours=int(clock[1]), minutes=int(clock[2])) + share(dataset_id) * jitter
    else:
        after_midnight = share(dataset_id) * _DAY
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + after_midnight % _DAY
    return at if at <= now else at - _DAY
