"""The run store as a poller uses it: a store that is away is waited for."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from producers.backoff import Backoff
from producers.contracts import FileRecord, FileState, Polls, PollStore, Run, RunState, StoreUnavailable

Result = TypeVar("Result")


class PatientStore:
    """Repeats every call that raises `StoreUnavailable`; any call may raise what `Backoff.check` does."""

    def __init__(self, store: PollStore, backoff: Backoff) -> None:
        self._store = store
        self._backoff = backoff

    def _patiently(self, call: Callable[[], Result]) -> Result:
        return self._backoff.until_done(call, (StoreUnavailable,))

    def next_requested(self, lasts_s: float) -> Run | None:
        """See `PollStore`."""
        return self._patiently(partial(self._store.next_requested, lasts_s))

    def start_scheduled(self, dataset_id: str, before: datetime | None, lasts_s: float) -> Run | None:
        """See `PollStore`."""
        return self._patiently(partial(self._store.start_scheduled, dataset_id, before, lasts_s))

    def polls(self) -> Mapping[str, Polls]:
        """See `PollStore`."""
        return self._patiently(self._store.polls)

    def finish(self, run_id: str, state: RunState, detail: str | None = None) -> None:
        """See `RunStore`."""
        self._patiently(partial(self._store.finish, run_id, state, detail))

    def claim(self, run_id: str, dataset_id: str, source: str, source_ref: str) -> FileRecord:
        """See `RunStore`."""
        return self._patiently(partial(self._store.claim, run_id, dataset_id, source, source_ref))

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
        """See `RunStore`."""
        call = partial(
            self._store.advance,
            file_id,
            state,
            destination=destination,
            received=received,
            error=error,
            detail=detail,
            content_hash=content_hash,
        )
        return self._patiently(call)

    def unfinished(self, dataset_id: str) -> Sequence[FileRecord]:
        """See `RunStore`."""
        return self._patiently(partial(self._store.unfinished, dataset_id))

    def taken(self, dataset_id: str, source: str) -> Sequence[tuple[str, datetime]]:
        """See `RunStore`."""
        return self._patiently(partial(self._store.taken, dataset_id, source))

    def report_once(self, dataset_id: str, what: str) -> bool:
        """See `RunStore`."""
        return self._patiently(partial(self._store.report_once, dataset_id, what))
