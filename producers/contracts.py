"""What the poller needs from its surroundings: where datasets come from, where states are kept.

The poller holds no state of its own. After a crash at any point it asks the store what was going on
and repeats the step that was not recorded as done; every step may be repeated without harm.
All methods are synchronous and called from the poller's thread; a call that raises
`StoreUnavailable` is repeated with a back-off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol


class StoreUnavailable(Exception):
    """The store of runs or datasets cannot answer now; the poller waits and asks again."""


class RunState(StrEnum):
    """Life of a run (one look at a dataset's source): requested → running → done | failed."""

    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class FileState(StrEnum):
    """Steps of a file, each recorded after it has happened: claimed → published | refused → copied → deleted.

    A file is whatever has a receipt: a version of an object, a reading of a sheet, a window of a pull API,
    an upload, a request.

    `refused` is a file-level error (wrong header, unreadable, wrong name): no row was published.
    `deleted` is the end of an object: it is under `Processed/` or `Error/` and gone from its first place.
    `done` is the end of what nobody moves: all its rows are in the topic, or it was refused.
    `replaced` is the other end: the source changed or vanished before it was dealt with, so its version
    is over; what was published of it stays, and the new one is a new file.
    """

    CLAIMED = "claimed"
    PUBLISHED = "published"
    REFUSED = "refused"
    COPIED = "copied"
    DELETED = "deleted"
    DONE = "done"
    REPLACED = "replaced"


FINISHED_FILE_STATES = frozenset({FileState.DELETED, FileState.DONE, FileState.REPLACED})


@dataclass(frozen=True, slots=True)
class S3Location:
    """Bucket and prefix of a dataset, and the key that opens them (never printed)."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class SheetLocation:
    """A Google Sheet.

    Attributes:
        spreadsheet_id: the id in the sheet's address.
        ranges: in A1 notation, read one after the other; none reads every visible sheet.
    """

    spreadsheet_id: str
    ranges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PullLocation:
    """An Odyssey-standard pull API.

    Attributes:
        url: address of its payments, without FROM and TO.
        key: the bearer key (never printed).
        since: first day (UTC) whose payments are asked for.
    """

    url: str
    since: date
    key: str = field(repr=False)


Location = S3Location | SheetLocation | PullLocation


@dataclass(frozen=True, slots=True)
class Dataset:
    """An active dataset whose source is looked at by schedule and on demand.

    Attributes:
        profile: which fields its rows must have, a key of `schemas.fields.PROFILES`.
        schedule: `daily`, `HH:MM` (UTC) or a number of seconds.
        id_namespace: of the dataset; with it a row's key puts the row where it is judged.
    """

    id: str
    organization_id: str
    profile: str
    schedule: str
    location: Location
    id_namespace: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One look at a dataset, on demand or by schedule."""

    id: str
    dataset_id: str


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is recorded of one file, in the wide sense of `FileState`.

    Attributes:
        source_ref: names it for ever, such as `s3://bucket/key@version`; with a line number a received row.
        claimed_at: aware UTC, set once by the first `claim`; names the destination.
        destination: key under `Processed/` or `Error/`, recorded before the copy begins.
        error: reason code of a file-level error, or None.
        detail: what the file-level error is, in words that hold nothing of its content.
        content_hash: SHA-256 in hex of the bytes that were read.
    """

    id: str
    run_id: str
    dataset_id: str
    source_ref: str
    state: FileState
    claimed_at: datetime
    destination: str | None = None
    received: int = 0
    error: str | None = None
    detail: str | None = None
    content_hash: str | None = None


class DatasetSource(Protocol):
    """The registry's datasets as the poller sees them, credentials opened."""

    def active(self) -> Sequence[Dataset]:
        """All active datasets that have a `Location`, read afresh on every call."""
        ...

    def is_active(self, dataset_id: str) -> bool:
        """Whether the dataset is active now: a brake, or an admin, may pause it at any time."""
        ...


class RunStore(Protocol):
    """The durable record of runs and files. Each call is one committed transaction."""

    def resume(self) -> None:
        """Put runs that a dead poller left `running` back to `requested`; called once at start."""
        ...

    def next_requested(self) -> Run | None:
        """Take the oldest requested run and mark it running; None when there is none."""
        ...

    def start_scheduled(self, dataset_id: str) -> Run:
        """Record a scheduled run, begun now, state running."""
        ...

    def last_scheduled(self, dataset_id: str) -> datetime | None:
        """When the latest scheduled run of the dataset began (aware UTC); None if never."""
        ...

    def finish(self, run_id: str, state: RunState, detail: str | None = None) -> None:
        """End a run; `detail` is a reason without personal data or credentials."""
        ...

    def claim(self, run_id: str, dataset_id: str, source: str, source_ref: str) -> FileRecord:
        """The record of (dataset, source_ref), made in state `claimed` if there is none.

        `source` is the channel, as in the record header. An unfinished record is joined to `run_id` (a
        run's counts are those of its files); a finished one is returned as it is.
        """
        ...

    def advance(
        self,
        file_id: str,
        state: FileState,
        *,
        destination: str | None = None,
        received: int | None = None,
        error: str | None = None,
        detail: str | None = None,
        content_hash: str | None = None,
    ) -> FileRecord:
        """Record a step that has happened, and what became known with it; None leaves a value as it is.

        `received` is the number of distinct rows published, unreadable ones included.
        """
        ...

    def unfinished(self, dataset_id: str) -> Sequence[FileRecord]:
        """Files of the dataset that have not reached an end state, oldest first."""
        ...

    def report_once(self, dataset_id: str, what: str) -> bool:
        """True the first time `what` (an object left alone) is reported for the dataset, then False."""
        ...
