"""What waits at a dataset's source, checked: read as an intake reads it, with nothing published or recorded.

Sheets and pull APIs are read by their own intakes, over a feed that checks and a record that forgets. A
bucket is looked through here, because its intake moves what it has dealt with.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from threading import Event
from typing import Any, Final

from api.checks.schemas import CheckOut
from api.checks.service import check_rows
from api.datasets.runs import SqlRunStore
from api.datasets.source import opened
from api.deps import Running
from api.errors import Archived, Conflict, Unavailable
from api.models import Dataset
from api.sealing import CannotOpen
from producers import contracts
from producers.backoff import Backoff
from producers.contracts import FileRecord, FileState, PullLocation, Run, S3Location, SheetLocation
from producers.errors import FileRefused, ProducerError, SourceUnavailable
from producers.feed import Opened, RowFeed
from producers.pull_intake import PullIntake
from producers.s3 import Bucket
from producers.s3_intake import refuse_unfit
from producers.table_rows import Remark, Row
from producers.tabular import Table
from schemas.outcomes import Code

MAX_CHECKS: Final = 50
"""Most files, ranges or windows with rows that one request looks at."""
MAX_LOOKS: Final = 400
"""The same with windows in which there is nothing: more than a year of days."""
_RUN: Final = "dry"


class SourceAway(Unavailable):
    """The bucket, the sheet or the pull API does not answer."""

    code = "source_away"
    default = "The dataset's source does not answer; try again."


class SourceRefuses(Conflict):
    """The source cannot be read as the dataset is set up."""

    code = "source_refuses"
    default = "The dataset's source cannot be read as it is set up."


class _Enough(ProducerError):
    """As many files were looked at as one request may."""


def check_source(app: Running, dataset: Dataset) -> tuple[list[CheckOut], bool]:
    """A check of everything that waits, and whether that was all. Blocks: for worker threads.

    Raises:
        Archived: the dataset is.
        SourceRefuses: nothing is looked at for such a dataset, or its source refuses.
        SourceAway: its source does not answer.
        StoreAway, TooManyRequests: see `check_rows`.
    """
    if dataset.archived:
        raise Archived
    try:
        looked = opened(dataset, app.box)
    except CannotOpen:
        raise SourceRefuses("The dataset's credentials cannot be opened; set them again.") from None
    checks: list[CheckOut] = []
    try:
        _look(app, dataset, looked, checks)
    except _Enough:
        return checks, False
    except SourceUnavailable as error:
        raise SourceAway(f"The dataset's source does not answer: {error}.") from None
    except FileRefused:
        return checks, False  # a pull API is asked for nothing behind a window that is refused
    except ProducerError as error:
        raise SourceRefuses(f"The dataset's source cannot be read: {error}.") from None
    return checks, True


def _look(app: Running, dataset: Dataset, looked: contracts.Dataset, checks: list[CheckOut]) -> None:
    feed = _CheckingFeed(app, dataset, checks)
    store: Any = _ForgettingStore(SqlRunStore(app.db), feed)
    backoff, run = Backoff(Event()), Run(_RUN, dataset.id)
    hosts = app.parts.settings.source_hosts
    match looked.location:
        case S3Location() as location:
            _bucket(Bucket(location, hosts), looked.profile, feed)
        case SheetLocation() as location:
            # Google's library takes long to import, and most installations do without it.
            from producers.sheet_intake import SheetIntake  # noqa: PLC0415
            from producers.sheets import NO_SHEETS  # noqa: PLC0415

            SheetIntake(store, feed, backoff, app.parts.sheets or NO_SHEETS).run(looked, location, run)
        case PullLocation() as location:
            now: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
            PullIntake(store, feed, backoff, hosts, now, lambda _: True).run(looked, location, run)
        case None:
            raise ProducerError(f"rows are sent to a dataset of source `{dataset.source}`")


def _bucket(bucket: Bucket, profile: str, feed: "_CheckingFeed") -> None:
    """Check what the next run would publish, or refuse at sight; nothing is claimed or moved."""
    try:
        for key in list(bucket.list()):
            name = key.removeprefix(bucket.prefix)
            found = bucket.head(key) if name.lower().endswith(".csv") else None
            if found is None:
                continue

            warnings: list[Remark] = []

            def rows(
                found: Any = found, name: str = name, warnings: list[Remark] = warnings
            ) -> Iterator[Sequence[Row]]:
                refuse_unfit(name, found.size)
                body = bucket.open(found)
                try:
                    table = Table(body, profile, lambda: bucket.open(found))
                    yield from table.batches()
                    warnings += table.last_remarks()
                finally:
                    body.close()

            feed.check(bucket.source_ref(found), rows(), warnings)
    finally:
        bucket.close()


class _CheckingFeed(RowFeed):
    """Takes the rows of files as the topic's feed does, and checks them instead."""

    def __init__(self, app: Running, dataset: Dataset, checks: list[CheckOut]) -> None:
        self._app = app
        self._checked = dataset
        self._checks = checks
        self._looks = 0

    def publish(
        self, dataset: contracts.Dataset, file: FileRecord, source: str, open_rows: Callable[[], Opened]
    ) -> int:
        """Check all rows; returns how many there were."""

        def rows() -> Iterator[Sequence[Row]]:
            with open_rows() as batches:
                yield from batches

        return self.check(file.source_ref, rows())

    def check(self, source_ref: str, rows: Iterator[Sequence[Row]], warnings: Sequence[Remark] = ()) -> int:
        """One file, range or window; of a window without rows there is nothing to tell.

        Raises:
            _Enough: as many as there may be were looked at before.
        """
        if len(self._checks) >= MAX_CHECKS or self._looks >= MAX_LOOKS:
            raise _Enough
        self._looks += 1
        answer = check_rows(self._app, self._checked, rows, source_ref, warnings)
        if answer.rows or answer.file_error or self._checked.source != "pull":
            self._checks.append(answer)
        return answer.rows

    def refuse(self, source_ref: str, code: Code, detail: str) -> None:
        """One that no row is read of."""

        def rows() -> Iterator[Sequence[Row]]:
            raise FileRefused(code, detail)
            yield

        self.check(source_ref, rows())


class _ForgettingStore:
    """What an intake records of its files (`producers.contracts.RunStore`): kept for this look alone."""

    def __init__(self, known: SqlRunStore, feed: _CheckingFeed) -> None:
        self._known = known
        self._feed = feed
        self._files: dict[str, FileRecord] = {}
        self._ids = count(1)

    def claim(self, run_id: str, dataset_id: str, source: str, source_ref: str) -> FileRecord:
        """A record of its own for every file: what an earlier run published is checked again."""
        made = FileRecord(
            str(next(self._ids)), run_id, dataset_id, source_ref, FileState.CLAIMED, datetime.now(UTC)
        )
        self._files[made.id] = made
        return made

    def advance(self, file_id: str, state: FileState, **known: Any) -> FileRecord:
        """A step; a refusal is part of the answer."""
        given = {name: value for name, value in known.items() if value is not None}
        file = self._files[file_id] = replace(self._files[file_id], state=state, **given)
        if file.error is not None:
            self._feed.refuse(file.source_ref, Code(file.error), file.detail or "")
        return file

    def unfinished(self, dataset_id: str) -> Sequence[FileRecord]:
        """Nothing: what a run is at now is that run's."""
        return []

    def taken(self, dataset_id: str, source: str) -> Sequence[tuple[str, datetime]]:
        """What was taken in before, which the next run would not ask for again."""
        return self._known.taken(dataset_id, source)
