"""Which windows of a pull API are asked: every day until it was read long enough after its end.

A day is settled when it was read completely, `LATE_DAYS` or more after its end. Every day from the
dataset's `since` that is not settled is asked, oldest first. So one rule gives the back-fill, the days that
are asked again because payments come late, what an outage of weeks left out, and a `since` that moved.

All times are UTC. What was read is known by the `source_ref` of its record:
`pull://<host>/<dataset id>/<from>/<to>@<place>-<run id>-<content>`.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import urlsplit

LATE_DAYS: Final = 3
"""Days after its end during which a day is asked again: gateways report late, field agents sync late."""
DAY: Final = timedelta(days=1)
"""Length of a window; no server of the standard takes a longer one."""
_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"
_MARK_LETTERS: Final = 12
_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_REF: Final = re.compile(
    rf"pull://.*/(?P<start>{_TIME})/(?P<end>{_TIME})@(?P<place>[0-9a-f]+)-(?P<run>.+)-(?P<mark>[0-9a-z]+)",
    re.ASCII | re.DOTALL,
).fullmatch


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`, both aware UTC with whole seconds; at most 24 hours."""

    start: datetime
    end: datetime

    @property
    def from_text(self) -> str:
        """What is asked for as FROM: ISO 8601 in UTC."""
        return _text(self.start)

    @property
    def to_text(self) -> str:
        """What is asked for as TO: ISO 8601 in UTC. It is the FROM of the next window."""
        return _text(self.end)

    def __str__(self) -> str:
        return f"{self.from_text} to {self.to_text}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a `source_ref` tells of one reading of a window.

    Attributes:
        place: of the address that was asked.
        mark: begins the SHA-256 of the answer; `refused` for an answer that is none.
    """

    window: Window
    place: str
    mark: str

    def is_of(self, place: str, content_hash: str) -> bool:
        """Whether this is a reading of that answer from that place."""
        return self.place == place and self.mark == content_hash[:_MARK_LETTERS]


def place_of(url: str) -> str:
    """Stands for an address in a `source_ref`: path and query of one may be secrets.

    Another address is another place, which is read from the beginning: nobody can know that it serves
    the same payments.
    """
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def source_ref(url: str, dataset_id: str, window: Window, run_id: str, content_hash: str | None) -> str:
    """Names one reading of a window for ever. Its version is the run and the content.

    The same answer in the same run is the same file: it is published again with the same lines after a
    crash. Another answer is another file, and so is every further run's: its rows are duplicates.
    `content_hash` is None for an answer that was refused.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    mark = content_hash[:_MARK_LETTERS] if content_hash else "refused"
    place = place_of(url)
    return f"pull://{host}/{dataset_id}/{window.from_text}/{window.to_text}@{place}-{run_id}-{mark}"


def reading_of(ref: str) -> Reading | None:
    """The reading that a `source_ref` names; None if it is not one of ours."""
    found = _REF(ref)
    if found is None:
        return None
    try:
        window = Window(_moment(found["start"]), _moment(found["end"]))
    except ValueError:
        return None
    return Reading(window, found["place"], found["mark"])


def settled_days(taken: Iterable[tuple[str, datetime]], place: str) -> frozenset[date]:
    """Days that need not be asked again.

    Args:
        taken: `source_ref` of every reading that ended well, and when it was claimed.
        place: only readings of this address count.
    """
    late = LATE_DAYS * DAY
    days = set()
    for ref, claimed_at in taken:
        reading = reading_of(ref)
        if reading is None or reading.place != place:
            continue
        window = reading.window
        if window.end - window.start == DAY and claimed_at >= window.end + late:
            days.add(window.start.date())
    return frozenset(days)


def due_windows(since: date, now: datetime, settled: frozenset[date]) -> Iterator[Window]:
    """The windows to ask, oldest first: a day each, the last one up to `now` (aware, cut to the second)."""
    until = now.astimezone(UTC).replace(microsecond=0)
    day = since
    while (start := datetime.combine(day, time(), UTC)) < until:
        if day not in settled:
            yield Window(start, min(start + DAY, until))
        day += DAY


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORM)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _FORM).replace(tzinfo=UTC)
