"""The poller: runs datasets on demand and by schedule, one after the other, until it is told to stop.

Any number of pollers may run, in one process or in many: each takes a dataset with a lease (`lease`).
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from producers.addresses import PUBLIC_ONLY, Hosts
from producers.agenda import Agenda
from producers.backoff import FIRST_PAUSE_S, Backoff, Stopped
from producers.contracts import (
    Dataset,
    DatasetSource,
    LeaseLost,
    PollStore,
    PullLocation,
    Run,
    RunState,
    S3Location,
    SheetLocation,
    StoreUnavailable,
)
from producers.errors import DatasetPaused, ProducerError, SourceUnavailable
from producers.feed import RowFeed
from producers.lease import LEASE_S, Lease
from producers.metrics import LAST_POLL, RUNS
from producers.pace import Pace
from producers.patient_store import PatientStore
from producers.publisher import Publisher
from producers.pull_intake import PullIntake
from producers.rows import RowRecords
from producers.s3_intake import S3Intake
from producers.schedule import JITTER, pause_after
from producers.sheet_intake import SheetIntake
from producers.sheets import NO_SHEETS, SheetsAccess
from schemas.fields import PROFILES

log = structlog.get_logger(__name__)

POLL_S: Final = 0.5
"""How often requested runs are looked for."""
SCHEDULE_S: Final = 2.0
"""How often each poller looks for datasets that are due."""
SOURCE_ATTEMPTS: Final = 5
"""How often a run is tried while its source does not answer, before it ends `failed`."""


def utc_now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


class Poller:
    """Serves datasets, one at a time, in a thread of its own."""

    def __init__(
        self,
        source: DatasetSource,
        store: PollStore,
        publisher: Publisher,
        rows: RowRecords,
        unjudged: Callable[[], int],
        *,
        hosts: Hosts = PUBLIC_ONLY,
        sheets: SheetsAccess = NO_SHEETS,
        now: Callable[[], datetime] = utc_now,
        poll_s: float = POLL_S,
        schedule_s: float = SCHEDULE_S,
        first_pause_s: float = FIRST_PAUSE_S,
        lease_s: float = LEASE_S,
        jitter: timedelta = JITTER,
    ) -> None:
        """`publisher` waits long for the broker (`FILE_DELIVERY_TIMEOUT_S`); pauses are in seconds.

        `store` is this poller's own. `unjudged` counts rows that are published and not judged yet. Datasets
        of other `hosts` fail.
        """
        self._stop = threading.Event()
        self._backoff = Backoff(self._stop, first_pause_s)
        self._unguarded = Backoff(self._stop, first_pause_s)
        self._source = source
        self._direct_store = store
        self._store = PatientStore(store, self._backoff)
        self._unjudged = unjudged
        feed = RowFeed(self._store, publisher, rows, self._backoff, now, self._pace)
        self._s3 = S3Intake(self._store, feed, self._backoff, hosts)
        self._sheets = SheetIntake(self._store, feed, self._backoff, sheets)
        self._pull = PullIntake(self._store, feed, self._backoff, hosts, now, self._is_active)
        self._now = now
        self._poll_s = poll_s
        self._lease_s = lease_s
        self._agenda = Agenda(self._store, self._datasets, now, schedule_s, jitter)

    def stop(self) -> None:
        """Ask the poller to end soon; a file under way is published again at the next start."""
        self._stop.set()

    @property
    def moved_at(self) -> float:
        """`time.monotonic()` of the last step it took, waiting included."""
        return max(self._backoff.moved_at, self._unguarded.moved_at)

    def run(self) -> None:
        """Serve until `stop` is called."""
        try:
            while True:
                self.poll()
                self._backoff.pause(self._poll_s)
        except Stopped:
            log.info("poller_stopped")

    def poll(self) -> int:
        """Do everything that is due now and that no other poller does; returns how many runs that were.

        Raises:
            Stopped: the process is to end.
        """
        LAST_POLL.set(self._now().timestamp())
        done = 0
        while self._served_one():
            done += 1
        return done

    def _served_one(self) -> bool:
        """Take one run and serve it; False when there is none to take."""
        self._backoff.check()
        since = time.monotonic()
        run = self._agenda.take(self._lease_s)
        if run is None:
            return False
        lease = Lease(
            run.dataset_id,
            partial(self._direct_store.renew, run.dataset_id, self._lease_s),
            partial(self._unguarded.until_done, away=(StoreUnavailable,)),
            self._lease_s,
            since,
        )
        try:
            with lease, self._backoff.guarded(lease.check):
                self._serve(run)
        except LeaseLost:
            log.warning("run_left_to_another_poller", run_id=run.id, dataset_id=run.dataset_id)
        except Stopped:
            self._give_back(run)
            raise
        return True

    def _datasets(self) -> list[Dataset]:
        """The active datasets, waited for if need be."""
        return list(self._backoff.until_done(self._source.active, (StoreUnavailable,)))

    def _pace(self, dataset_id: str) -> Pace:
        """The pace of one file of a dataset."""
        return Pace(self._unjudged, partial(self._is_active, dataset_id), self._backoff.pause)

    def _is_active(self, dataset_id: str) -> bool:
        """Whether the dataset still is active, waited for if need be."""
        is_active = partial(self._source.is_active, dataset_id)
        return self._backoff.until_done(is_active, (StoreUnavailable,))

    def _serve(self, run: Run) -> None:
        """Serve one run to its end. Whatever is wrong with one dataset must not stop the others."""
        dataset = next((dataset for dataset in self._datasets() if dataset.id == run.dataset_id), None)
        if dataset is None:
            return self._finish(run, RunState.FAILED, "the dataset is not active")
        try:
            detail = self._backoff.until_done(
                lambda: self._look(dataset, run), (SourceUnavailable,), SOURCE_ATTEMPTS
            )
        except (Stopped, LeaseLost):
            raise
        except DatasetPaused as error:
            self._finish(run, RunState.FAILED, str(error))
        except ProducerError as error:
            self._failed(run, str(error))
        except Exception as error:  # noqa: BLE001 - told in the log and in the run; the loop must go on
            place = error.__traceback__
            while place and place.tb_next:
                place = place.tb_next
            where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else ""
            log.error("run_failed_unexpectedly", run_id=run.id, error=type(error).__name__, where=where)
            self._failed(run, f"unexpected {type(error).__name__}")
        else:
            self._finish(run, RunState.DONE, detail)

    def _look(self, dataset: Dataset, run: Run) -> str | None:
        """Look at a dataset's source; returns what is worth saying about it."""
        if dataset.profile not in PROFILES:
            raise ProducerError(f"there is no profile {dataset.profile!r}")
        match dataset.location:
            case S3Location() as location:
                return self._s3.run(dataset, location, run)
            case SheetLocation() as location:
                return self._sheets.run(dataset, location, run)
            case PullLocation() as location:
                return self._pull.run(dataset, location, run)
            case _:
                raise ProducerError("this program cannot look at such a source")

    def _failed(self, run: Run, reason: str) -> None:
        """End a run that failed, saying when the dataset is looked at again."""
        failures = run.failures + 1
        again = self._now() + pause_after(run.dataset_id, failures)
        then = f"failure {failures} in a row; tried again at {again:%Y-%m-%d %H:%M} UTC"
        self._finish(run, RunState.FAILED, f"{reason} ({then})")

    def _finish(self, run: Run, state: RunState, detail: str | None = None) -> None:
        self._store.finish(run.id, state, detail)
        RUNS.labels(state.value).inc()
        log.info("run_finished", run_id=run.id, dataset_id=run.dataset_id, state=state.value, detail=detail)

    def _give_back(self, run: Run) -> None:
        """Let another poller go on with the run at once, if the store answers."""
        try:
            self._direct_store.give_back(run)
        except StoreUnavailable as error:
            log.warning("run_not_given_back", run_id=run.id, error=str(error))
