"""What the poller needs from its surroundings: where datasets come from, where states are kept.

A poller holds no state of its own. After a crash at any point another one asks the store what was going
on and repeats the step that was not recorded as done; every step may be repeated without harm.
All methods are synchronous; a call that raises `StoreUnavailable` is repeated with a back-off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol


class StoreUnavailable(Exception):
    """The store of runs or datasets cannot answer now; the poller waits and asks again."""


class LeaseLost(Exception):
    """Another poller deals with the dataset by now: this one must publish, move and record no more of it."""


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
    `replaced` is the other end: the source changed, vanished or was given up before it was dealt with, so
    its version is over; what was published of it stays, and the new one is a new file.
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
        location: None for a dataset that rows are sent to.
        id_namespace: of the dataset; with it a row's key puts the row where it is judged.
        version: of the dataset in the registry; 0 if it is not known.
    """

    id: str
    organization_id: str
    profile: str
    schedule: str
    location: Location | None
    id_namespace: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One look at a dataset, on demand or by schedule.

    Attributes:
        failures: how many runs of the dataset failed, one after the other, before this one.
    """

    id: str
    dataset_id: str
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Polls:
    """What is remembered of the looks at one dataset.

    Attributes:
        scheduled_at: when its latest scheduled run began (aware UTC); None if never.
        failures: how many runs failed since the last one that did not.
        failed_at: when the latest of them ended (aware UTC).
        held: whether a poller deals with it now.
    """

    scheduled_at: datetime | None = None
    failures: int = 0
    failed_at: datetime | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is recorded of one file, in the wide sense of `FileState`.

    Attributes:
        source_ref: names it for ever, such as `s3://bucket/key@version`; with a line number a received row.
        claimed_at: aware UTC, set once by the first `claim`; names the destination.
        destination: key under `Processed/` or `Error/`, recorded before the copy begins.
        error: reason code of a file-level error, or None.
        detail: what the file-level error is, or what of it is not read, in words that hold nothing of its
            content.
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
    """The durable record of runs and files. Each call is one committed transaction.

    As a `PollStore` has it, every call that writes raises `LeaseLost` once its poller does not hold the
    dataset any more.
    """

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

    def taken(self, dataset_id: str, source: str) -> Sequence[tuple[str, datetime]]:
        """`source_ref` and `claimed_at` (aware UTC) of the channel's files that ended `done`, unrefused."""
        ...

    def report_once(self, dataset_id: str, what: str) -> bool:
        """True the first time `what` (an object left alone) is reported for the dataset, then False."""
        ...


class PollStore(RunStore, Protocol):
    """The record as one poller uses it: runs are taken together with a lease of their dataset.

    One poller at a time holds a dataset. A lease that is not renewed ends by itself, and the run under it
    may be taken by any other poller.
    """

    def next_requested(self, lasts_s: float) -> Run | None:
        """Take the oldest run that somebody asked for, or that a dead poller left, and hold its dataset.

        Runs of datasets that are held are left alone. The lease lasts so many seconds. None when there is
        nothing to take.
        """
        ...

    def start_scheduled(self, dataset_id: str, before: datetime | None, lasts_s: float) -> Run | None:
        """Record a scheduled run, begun now, and hold the dataset.

        None when it is held, when its latest scheduled run is not the one of `before` any more, and while
        a run is asked for, which comes first.
        """
        ...

    def renew(self, dataset_id: str, lasts_s: float) -> bool:
        """Hold the dataset so many seconds from now; False when another poller holds it."""
        ...

    def give_back(self, run: Run) -> None:
        """Put a run under way back to `requested` and let go of its dataset; nothing if it is lost."""
        ...

    def finish(self, run_id: str, state: RunState, detail: str | None = None) -> None:
        """End a run, count it if it failed, and let go of its dataset."""
        ...

    def polls(self) -> Mapping[str, Polls]:
        """What is remembered of every dataset, by its id; a dataset never looked at may be missing."""
        ...
