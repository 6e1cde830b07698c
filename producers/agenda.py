"""What a poller does next: the oldest run that is asked for, else a dataset that is due."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from producers.contracts import Dataset, Polls, Run
from producers.metrics import DATASET_FAILURES
from producers.patient_store import PatientStore
from producers.schedule import BadSchedule, is_due

log = structlog.get_logger(__name__)


class Agenda:
    """Takes runs from the store, each with a lease of its dataset. Belongs to one poller.

    Args:
        store: the poller's.
        datasets: reads those that are active.
        now: gives aware times.
        look_s: how often it is looked for datasets that are due, seconds.
        jitter: how far beginnings at one time of day are spread.
    """

    def __init__(
        self,
        store: PatientStore,
        datasets: Callable[[], list[Dataset]],
        now: Callable[[], datetime],
        look_s: float,
        jitter: timedelta,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._now = now
        self._look_s = look_s
        self._jitter = jitter
        self._look_again_at = 0.0
        self._unreadable: set[str] = set()

    def take(self, lasts_s: float) -> Run | None:
        """The next run, its dataset held for so many seconds; None when there is nothing to do.

        Raises:
            Stopped: the process is to end.
        """
        return self._store.next_requested(lasts_s) or self._scheduled(lasts_s)

    def _scheduled(self, lasts_s: float) -> Run | None:
        """Begin the run of a dataset that is due, if there is one."""
        if time.monotonic() < self._look_again_at:
            return None
        polls = self._store.polls()
        _show_failures(polls)
        for dataset in self._datasets():
            known = polls.get(dataset.id, Polls())
            if known.held or not self._is_due(dataset, known):
                continue
            run = self._store.start_scheduled(dataset.id, known.scheduled_at, lasts_s)
            if run is not None:
                return run
        self._look_again_at = time.monotonic() + self._look_s
        return None

    def _is_due(self, dataset: Dataset, polls: Polls) -> bool:
        try:
            return is_due(dataset.id, dataset.schedule, polls, self._now(), self._jitter)
        except BadSchedule:
            if dataset.id not in self._unreadable:
                self._unreadable.add(dataset.id)
                log.error("schedule_unreadable", dataset_id=dataset.id)
            return False


def _show_failures(polls: Mapping[str, Polls]) -> None:
    """What the store says, whichever process served the runs."""
    DATASET_FAILURES.clear()
    for dataset_id, known in polls.items():
        if known.failures:
            DATASET_FAILURES.labels(dataset_id).set(known.failures)
