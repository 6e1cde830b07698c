"""A run store in memory, or in a file so that it outlives a killed process."""

import itertools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from producers.contracts import (
    FINISHED_FILE_STATES,
    Dataset,
    FileRecord,
    FileState,
    Run,
    RunState,
    StoreUnavailable,
)


@dataclass
class _Data:
    runs: dict[str, tuple[str, RunState, str | None, datetime | None]] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    reported: set[tuple[str, str]] = field(default_factory=set)
    number: int = 0


class MemoryRunStore:
    """`RunStore` without a database; each method changes everything or nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._data = pickle.loads(path.read_bytes()) if path and path.exists() else _Data()
        self.away = 0
        """How many further calls find the store away."""

    def _begin(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")

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
        self._data.runs[run_id] = (dataset_id, RunState.REQUESTED, None, None)
        self._commit()
        return run_id

    def run_state(self, run_id: str) -> tuple[RunState, str | None]:
        """State and detail of a run."""
        _, state, detail, _ = self._data.runs[run_id]
        return state, detail

    @property
    def files(self) -> list[FileRecord]:
        """All files on record."""
        return list(self._data.files.values())

    def resume(self) -> None:
        self._begin()
        for run_id, (dataset_id, state, _, begun) in list(self._data.runs.items()):
            if state is RunState.RUNNING:
                self._data.runs[run_id] = (dataset_id, RunState.REQUESTED, None, begun)
        self._commit()

    def next_requested(self) -> Run | None:
        self._begin()
        for run_id, (dataset_id, state, _, begun) in self._data.runs.items():
            if state is RunState.REQUESTED:
                self._data.runs[run_id] = (dataset_id, RunState.RUNNING, None, begun)
                self._commit()
                return Run(run_id, dataset_id)
        return None

    def start_scheduled(self, dataset_id: str) -> Run:
        self._begin()
        run_id = self._id("run")
        self._data.runs[run_id] = (dataset_id, RunState.RUNNING, None, datetime.now(UTC))
        self._commit()
        return Run(run_id, dataset_id)

    def last_scheduled(self, dataset_id: str) -> datetime | None:
        self._begin()
        begun = [begun for owner, _, _, begun in self._data.runs.values() if owner == dataset_id and begun]
        return max(begun, default=None)

    def finish(self, run_id: str, state: RunState, detail: str | None = None) -> None:
        self._begin()
        dataset_id, _, _, begun = self._data.runs[run_id]
        self._data.runs[run_id] = (dataset_id, state, detail, begun)
        self._commit()

    def claim(self, run_id: str, dataset_id: str, source: str, source_ref: str) -> FileRecord:
        self._begin()
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


numbers = itertools.count(1)
"""Numbers that no two tests share."""
