"""A run store in memory, or in a file so that it outlives a killed process."""

import itertools
import os
import pickle
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from producers.contracts import (
    FINISHED_FILE_STATES,
    Dataset,
    FileRecord,
    FileState,
    LeaseLost,
    Polls,
    Run,
    RunState,
    StoreUnavailable,
)

numbers = itertools.count(1)
"""Numbers that no two tests share."""


@dataclass
class _Poll:
    holder: str | None = None
    was_held: bool = False
    until: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    scheduled_at: datetime | None = None
    failures: int = 0
    failed_at: datetime | None = None


@dataclass
class _Data:
    runs: dict[str, tuple[str, RunState, str | None]] = field(default_factory=dict)
    polls: dict[str, _Poll] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    reported: set[tuple[str, str]] = field(default_factory=set)
    number: int = 0


class MemoryRunStore:
    """`PollStore` of one poller without a database; each method changes everything or nothing."""

    def __init__(self, path: Path | None = None, beside: "MemoryRunStore | None" = None) -> None:
        self._path = path
        self._data: _Data = (
            beside._data if beside else pickle.loads(path.read_bytes()) if path and path.exists() else _Data()
        )
        self._lock: threading.RLock = beside._lock if beside else threading.RLock()
        self._holder = f"{os.getpid()} {next(numbers)}"
        self.away = 0
        """How many further calls find the store away."""

    def beside(self) -> "MemoryRunStore":
        """The same record as another poller has it."""
        return MemoryRunStore(self._path, self)

    def expire(self) -> None:
        """End every lease, as time does when its poller is dead."""
        for poll in self._data.polls.values():
            poll.until = datetime.now(UTC)
        self._commit()

    def _begin(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")

    def _fence(self, dataset_id: str) -> _Poll:
        """A dataset that no poller ever held is another channel's, which needs no lease."""
        poll = self._poll(dataset_id)
        if poll.was_held and poll.holder != self._holder:
            raise LeaseLost(dataset_id)
        return poll

    def _poll(self, dataset_id: str) -> _Poll:
        return self._data.polls.setdefault(dataset_id, _Poll())

    def _hold(self, dataset_id: str, lasts_s: float) -> _Poll | None:
        poll, now = self._poll(dataset_id), datetime.now(UTC)
        if poll.holder is not None and poll.until > now:
            return None
        poll.holder, poll.was_held, poll.until = self._holder, True, now + timedelta(seconds=lasts_s)
        return poll

    def _commit(self) -> None:
        if self._path:
            new = self._path.with_suffix(".new")
            new.write_bytes(pickle.dumps(self._data))
            new.replace(self._path)

    def _id(self, kind: str) -> str:
        self._data.number += 1
        return f"{kind}_{self._data.number}"

    def request(self, dataset_id: str) -> str:
        """What `POST /v1/datasets/{id}/run` does."""
        run_id = self._id("run")
        self._data.runs[run_id] = (dataset_id, RunState.REQUESTED, None)
        self._commit()
        return run_id

    def run_state(self, run_id: str) -> tuple[RunState, str | None]:
        """State and detail of a run."""
        _, state, detail = self._data.runs[run_id]
        return state, detail

    @property
    def files(self) -> list[FileRecord]:
        """All files on record."""
        return list(self._data.files.values())

    def next_requested(self, lasts_s: float) -> Run | None:
        with self._lock:
            self._begin()
            for run_id, (dataset_id, state, _) in self._data.runs.items():
                if state in (RunState.REQUESTED, RunState.RUNNING):
                    poll = self._hold(dataset_id, lasts_s)
                    if poll is not None:
                        self._data.runs[run_id] = (dataset_id, RunState.RUNNING, None)
                        self._commit()
                        return Run(run_id, dataset_id, poll.failures)
            return None

    def start_scheduled(self, dataset_id: str, before: datetime | None, lasts_s: float) -> Run | None:
        with self._lock:
            self._begin()
            asked = any(
                (owner, state) == (dataset_id, RunState.REQUESTED)
                for owner, state, _ in self._data.runs.values()
            )
            if asked or self._poll(dataset_id).scheduled_at != before:
                return None
            poll = self._hold(dataset_id, lasts_s)
            if poll is None:
                return None
            run_id = self._id("run")
            poll.scheduled_at = datetime.now(UTC)
            self._data.runs[run_id] = (dataset_id, RunState.RUNNING, None)
            self._commit()
            return Run(run_id, dataset_id, poll.failures)

    def renew(self, dataset_id: str, lasts_s: float) -> bool:
        with self._lock:
            self._begin()
            poll = self._poll(dataset_id)
            if poll.holder != self._holder:
                return False
            poll.until = datetime.now(UTC) + timedelta(seconds=lasts_s)
            self._commit()
            return True

    def give_back(self, run: Run) -> None:
        with self._lock:
            self._begin()
            poll = self._poll(run.dataset_id)
            if poll.holder == self._holder:
                poll.holder = None
                self._data.runs[run.id] = (run.dataset_id, RunState.REQUESTED, None)
                self._commit()

    def polls(self) -> Mapping[str, Polls]:
        self._begin()
        now = datetime.now(UTC)
        return {
            dataset_id: Polls(
                poll.scheduled_at, poll.failures, poll.failed_at, poll.holder is not None and poll.until > now
            )
            for dataset_id, poll in self._data.polls.items()
        }

    def finish(self, run_id: str, state: RunState, detail: str | None = None) -> None:
        with self._lock:
            self._begin()
            dataset_id = self._data.runs[run_id][0]
            poll = self._fence(dataset_id)
            failed = state is RunState.FAILED
            poll.failures = poll.failures + 1 if failed else 0
            poll.failed_at = datetime.now(UTC) if failed else None
            poll.holder = None
            self._data.runs[run_id] = (dataset_id, state, detail)
            self._commit()

    def claim(self, run_id: str, dataset_id: str, source: str, source_ref: str) -> FileRecord:
        self._begin()
        self._fence(dataset_id)
        for known in self._data.files.values():
            if (known.dataset_id, known.source_ref) == (dataset_id, source_ref):
                if known.state not in FINISHED_FILE_STATES:
                    self._data.files[known.id] = replace(known, run_id=run_id)
                    self._commit()
                return self._data.files[known.id]
        file = FileRecord(
            self._id("fil"), run_id, dataset_id, source_ref, FileState.CLAIMED, datetime.now(UTC)
        )
        self._data.files[file.id] = file
        self._commit()
        return file

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
        self._begin()
        given = {
            "destination": destination,
            "received": received,
            "error": error,
            "detail": detail,
            "content_hash": content_hash,
        }
        self._fence(self._data.files[file_id].dataset_id)
        changes = {name: value for name, value in given.items() if value is not None}
        file = replace(self._data.files[file_id], state=state, **changes)
        self._data.files[file_id] = file
        self._commit()
        return file

    def unfinished(self, dataset_id: str) -> Sequence[FileRecord]:
        self._begin()
        return [
            file
            for file in self._data.files.values()
            if file.dataset_id == dataset_id and file.state not in FINISHED_FILE_STATES
        ]

    def taken(self, dataset_id: str, source: str) -> Sequence[tuple[str, datetime]]:
        self._begin()
        return [
            (file.source_ref, file.claimed_at)
            for file in self._data.files.values()
            if file.dataset_id == dataset_id
            and file.source_ref.startswith(f"{source}://")
            and (file.state, file.error) == (FileState.DONE, None)
        ]

    def report_once(self, dataset_id: str, what: str) -> bool:
        self._begin()
        first = (dataset_id, what) not in self._data.reported
        self._data.reported.add((dataset_id, what))
        self._commit()
        return first


class Datasets:
    """`DatasetSource` over a list."""

    def __init__(self, *datasets: Dataset) -> None:
        self.datasets = list(datasets)

    def active(self) -> Sequence[Dataset]:
        return list(self.datasets)

    def is_active(self, dataset_id: str) -> bool:
        return any(dataset.id == dataset_id for dataset in self.datasets)
