"""The poller: runs datasets on demand and by schedule, one after the other, until it is told to stop."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from producers.addresses import PUBLIC_ONLY, Hosts
from producers.backoff import FIRST_PAUSE_S, Backoff, Stopped
from producers.contracts import (
    Dataset,
    DatasetSource,
    Run,
    RunState,
    RunStore,
    S3Location,
    StoreUnavailable,
)
from producers.errors import ProducerError, SourceUnavailable
from producers.feed import RowFeed
from producers.metrics import LAST_POLL, RUNS
from producers.pace import Pace
from producers.patient_store import PatientStore
from producers.publisher import Publisher
from producers.rows import RowRecords
from producers.s3_intake import S3Intake
from producers.schedule import BadSchedule, is_due
from schemas.fields import PROFILES

log = structlog.get_logger(__name__)

POLL_S: Final = 0.5
"""How often requested runs are looked for."""
SOURCE_ATTEMPTS: Final = 5
"""How often a run is tried while its source does not answer, before it ends `failed`."""


def utc_now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


class Poller:
    """Serves the datasets of a source. Runs in a thread of its own; one poller per installation."""

    def __init__(
        self,
        source: DatasetSource,
        store: RunStore,
        publisher: Publisher,
        rows: RowRecords,
        unjudged: Callable[[], int],
        *,
        hosts: Hosts = PUBLIC_ONLY,
        now: Callable[[], datetime] = utc_now,
        poll_s: float = POLL_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """`publisher` waits long for the broker (`FILE_DELIVERY_TIMEOUT_S`); pauses are in seconds.

        `unjudged` counts rows that are published and not judged yet. Datasets of other `hosts` fail.
        """
        self._stop = threading.Event()
        self._backoff = Backoff(self._stop, first_pause_s)
        self._source = source
        self._store = PatientStore(store, self._backoff)
        self._unjudged = unjudged
        feed = RowFeed(self._store, publisher, rows, self._backoff, now, self._pace)
        self._s3 = S3Intake(self._store, feed, self._backoff, hosts)
        self._now = now
        self._poll_s = poll_s
        self._unreadable_schedules: set[str] = set()

    def stop(self) -> None:
        """Ask the poller to end soon; a file under way is published again at the next start."""
        self._stop.set()

    def run(self) -> None:
        """Serve until `stop` is called."""
        try:
            self._store.resume()
            while True:
                self.poll()
                self._backoff.pause(self._poll_s)
        except Stopped:
            log.info("poller_stopped")

    def poll(self) -> int:
        """Do everything that is due now; returns how many runs that were.

        Raises:
            Stopped: the poller is to end.
        """
        LAST_POLL.set(self._now().timestamp())
        done = 0
        while (run := self._store.next_requested()) is not None:
            self._requested(run)
            done += 1
        for dataset in self._datasets():
            if self._is_due(dataset):
                self._serve(dataset, self._store.start_scheduled(dataset.id))
                done += 1
        return done

    def _datasets(self) -> list[Dataset]:
        """The active datasets, waited for if need be."""
        return list(self._backoff.until_done(self._source.active, (StoreUnavailable,)))

    def _pace(self, dataset_id: str) -> Pace:
        """The pace of one file of a dataset."""
        is_active = partial(self._source.is_active, dataset_id)
        return Pace(
            self._unjudged,
            lambda: self._backoff.until_done(is_active, (StoreUnavailable,)),
            self._backoff.pause,
        )

    def _requested(self, run: Run) -> None:
        """Serve a run that somebody asked for."""
        dataset = next((dataset for dataset in self._datasets() if dataset.id == run.dataset_id), None)
        if dataset is None:
            self._finish(run, RunState.FAILED, "the dataset is not active")
        else:
            self._serve(dataset, run)

    def _is_due(self, dataset: Dataset) -> bool:
        try:
            return is_due(dataset.schedule, self._store.last_scheduled(dataset.id), self._now())
        except BadSchedule:
            if dataset.id not in self._unreadable_schedules:
                self._unreadable_schedules.add(dataset.id)
                log.error("schedule_unreadable", dataset_id=dataset.id)
            return False

    def _serve(self, dataset: Dataset, run: Run) -> None:
        """Serve one run to its end. Whatever is wrong with one dataset must not stop the others."""
        try:
            detail = self._backoff.until_done(
                lambda: self._look(dataset, run), (SourceUnavailable,), SOURCE_ATTEMPTS
            )
        except Stopped:
            raise
        except ProducerError as error:
            self._finish(run, RunState.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - told in the log and in the run; the loop must go on
            place = error.__traceback__
            while place and place.tb_next:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else ""
            log.error("run_failed_unexpectedly", run_id=run.id, error=type(error).__name__, where=where)
            self._finish(run, RunState.FAILED, f"unexpected {type(error).__name__}")
        else:
            self._finish(run, RunState.DONE, detail)

    def _look(self, dataset: Dataset, run: Run) -> str | None:
        """Look at a dataset's source; returns what is worth saying about it."""
        if dataset.profile not in PROFILES:
            raise ProducerError(f"there is no profile {dataset.profile!r}")
        match dataset.location:
            case S3Location() as location:
                return self._s3.run(dataset, location, run)
            case _:
                raise ProducerError("this program cannot look at such a source")

    def _finish(self, run: Run, state: RunState, detail: str | None = None) -> None:
        RUNS.labels(state.value).inc()
        self._store.finish(run.id, state, detail)
        log.info("run_finished", run_id=run.id, dataset_id=run.dataset_id, state=state.value, detail=detail)
