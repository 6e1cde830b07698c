"""One look at a dataset's pull API: every window that is due, oldest first, each a file with a receipt.

A window: ask → read the answer to its end → claim a file for it → publish its rows → record `done`. Nothing
is published of an answer that is none or that reports an error: the run fails there and names the window,
and no later one is asked, so that no gap opens behind it. After a crash at any point the window is asked
again; the same answer goes on under the same name and lines, another one is a file of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Final

import structlog

from producers.addresses import Hosts
from producers.backoff import Backoff
from producers.contracts import Dataset, FileRecord, FileState, PullLocation, Run, RunStore
from producers.errors import DatasetPaused, FileRefused, SourceError
from producers.feed import RowFeed
from producers.metrics import FILES
from producers.pull import Answer, PullApi
from producers.pull_rows import check_answer, row_batches
from producers.pull_windows import (
    Reading,
    Window,
    due_windows,
    place_of,
    reading_of,
    settled_days,
    source_ref,
)
from producers.table_rows import Row

log = structlog.get_logger(__name__)

SOURCE: Final = "pull"


class PullIntake:
    """Looks through pull APIs, one dataset at a time. Blocks; belongs to the poller's thread."""

    def __init__(
        self,
        store: RunStore,
        feed: RowFeed,
        backoff: Backoff,
        hosts: Hosts,
        now: Callable[[], datetime],
        is_active: Callable[[str], bool],
    ) -> None:
        """`hosts` are those that may be connected to; `is_active` says whether a dataset still is."""
        self._store = store
        self._feed = feed
        self._backoff = backoff
        self._hosts = hosts
        self._now = now
        self._is_active = is_active

    def run(self, dataset: Dataset, location: PullLocation, run: Run) -> str:
        """Ask for every window that is due; says which these were.

        Raises:
            Stopped: the process is to end; everything unfinished is on record.
            SourceError: the API does not answer, or refuses; the text names the window.
            FileRefused: what it answers is no answer; the same.
            DatasetPaused: the dataset was paused meanwhile.
        """
        with closing(PullApi(location, self._hosts, self._backoff, self._now)) as api:
            look = _Look(self._store, self._feed, api, dataset, location, run)
            finished = look.go_on()
            taken = self._store.taken(dataset.id, SOURCE)
            settled = settled_days(taken, place_of(location.url))
            windows = list(due_windows(location.since, self._now(), settled))
            for window in windows:
                self._backoff.check()
                if not self._is_active(dataset.id):
                    raise DatasetPaused
                if window not in finished:
                    look.read(window)
        if not windows:
            return f"no day since {location.since} is due"
        return f"asked for {windows[0].from_text} to {windows[-1].to_text}"


class _Look:
    """One run of one dataset."""

    def __init__(
        self,
        store: RunStore,
        feed: RowFeed,
        api: PullApi,
        dataset: Dataset,
        location: PullLocation,
        run: Run,
    ) -> None:
        self._store = store
        self._feed = feed
        self._api = api
        self._dataset = dataset
        self._url = location.url
        self._since = location.since
        self._run = run

    def go_on(self) -> set[Window]:
        """Finish what an earlier run began, where the API still answers the same; returns these windows.

        Where it does not, the lines that were published stand for other rows: that file is over, and
        the window is asked for as a new one. So is a file of an address, or of a day, that is not asked
        for any more.
        """
        finished = set()
        for file in self._store.unfinished(self._dataset.id):
            reading = reading_of(file.source_ref)
            if reading is None or not self._asks(reading):
                self._store.advance(file.id, FileState.REPLACED)
                continue
            with self._answer(reading.window) as (answer, count):
                if reading.is_of(place_of(self._url), answer.content_hash):
                    self._publish(file.source_ref, answer, count)
                    finished.add(reading.window)
                else:
                    self._store.advance(file.id, FileState.REPLACED)
                    log.info("window_changed", dataset_id=self._dataset.id, file_id=file.id)
        return finished

    def _asks(self, reading: Reading) -> bool:
        """Whether the dataset still asks for what was read there."""
        return reading.place == place_of(self._url) and reading.window.start.date() >= self._since

    def read(self, window: Window) -> None:
        """Ask for a window and publish what it holds."""
        with self._answer(window) as (answer, count):
            self._publish(self._ref(window, answer.content_hash), answer, count)

    @contextmanager
    def _answer(self, window: Window) -> Iterator[tuple[Answer, int]]:
        """The answer for a window, read to its end once, and how many payments it holds.

        Errors name the window.

        An answer that is none has a record too, so that its receipt says why it brought nothing.
        """
        try:
            with self._api.read(window) as answer:
                yield answer, check_answer(answer.open())
        except SourceError as error:
            raise type(error)(f"window {window}: {error}; no later one was asked for") from None
        except FileRefused as refusal:
            self._refuse(window, refusal)
            detail = f"window {window}: {refusal.detail}; no later one was asked for"
            raise FileRefused(refusal.code, detail) from None

    def _publish(self, ref: str, answer: Answer, count: int) -> None:
        file = self._store.claim(self._run.id, self._dataset.id, SOURCE, ref)
        if file.state is FileState.DONE:
            return  # this run has it: an attempt that broke off later
        if file.state is FileState.REPLACED:
            self._store.advance(file.id, FileState.CLAIMED)
        received = 0
        if count:  # most windows of a back-fill may be empty: nothing is opened for them
            received = self._feed.publish(self._dataset, file, SOURCE, lambda: _rows(answer))
        self._store.advance(file.id, FileState.DONE, received=received, content_hash=answer.content_hash)
        FILES.labels("published").inc()

    def _refuse(self, window: Window, refusal: FileRefused) -> None:
        ref = self._ref(window, None)
        file: FileRecord = self._store.claim(self._run.id, self._dataset.id, SOURCE, ref)
        self._store.advance(file.id, FileState.DONE, error=refusal.code.value, detail=refusal.detail)
        log.warning("window_refused", dataset_id=self._dataset.id, file_id=file.id, code=refusal.code.value)
        FILES.labels("refused").inc()

    def _ref(self, window: Window, content_hash: str | None) -> str:
        return source_ref(self._url, self._dataset.id, window, self._run.id, content_hash)


@contextmanager
def _rows(answer: Answer) -> Iterator[Iterable[Sequence[Row]]]:
    yield row_batches(answer.open())
