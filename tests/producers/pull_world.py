"""A pull API, a topic and a poller between them, at a time of their own."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from confluent_kafka import Consumer
from memory_store import Datasets, MemoryRunStore, numbers
from pull_double import KEY, PullDouble
from s3_world import ORG, Seen, World

from producers.backoff import Backoff
from producers.contracts import Dataset, FileRecord, FileState, PullLocation, RunState
from producers.poller import Poller
from schemas.topics import PAYMENTS

SINCE = date(2024, 5, 1)
NOON = datetime(2024, 5, 3, 12, 0, tzinfo=UTC)


class TimedStore(MemoryRunStore):
    """A store whose clock is the test's."""

    def __init__(self, now: Callable[[], datetime], path: Path | None = None) -> None:
        super().__init__(path)
        self.now = now

    def claim(self, run_id: str, dataset_id: str, source: str, source_ref: str) -> FileRecord:
        known = {file.id for file in self.files}
        file = super().claim(run_id, dataset_id, source, source_ref)
        if file.id not in known:
            file = self._data.files[file.id] = replace(file, claimed_at=self.now())
            self._commit()
        return file


class PullWorld(World):
    """One dataset over one API of its own. `clock` is what everybody takes for the present."""

    def __init__(
        self, kafka: str, topic_prefix: str, url: str = "", store_path: Path | None = None, name: str = ""
    ) -> None:
        self.double = None if url else PullDouble()
        self.kafka = kafka
        self.clock = NOON
        self.topic = PAYMENTS.full_name(topic_prefix)
        self._publishers = []
        options = {"group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 10}
        self._consumer = Consumer({"bootstrap.servers": kafka, **options})
        self.url = url or self.api.url
        self.begin_pull(name, store_path)

    @property
    def api(self) -> PullDouble:
        """The double, where this world has one of its own."""
        assert self.double is not None
        return self.double

    def begin_pull(self, name: str = "", store_path: Path | None = None) -> None:
        """Go to another dataset, with an empty store; only records from now on are seen."""
        name = name or f"ds_pull{next(numbers)}"
        self.prefix = f"{name}/"
        self.store = TimedStore(lambda: self.clock, store_path)
        location = PullLocation(self.url, SINCE, KEY)
        self.dataset = Dataset(name, ORG, "pull", "365000000", location, id_namespace="crm")
        self.datasets = Datasets(self.dataset)
        self._starts = {} if store_path else self._ends()
        if name not in self.store.polls():
            # Only runs that a test asks for: the schedule has had its turn.
            first = self.store.start_scheduled(name, None, 60)
            assert first is not None
            self.store.finish(first.id, RunState.DONE)

    def place(self, **changes: object) -> None:
        """Change where and since when is asked, as an admin does."""
        location = replace(self.dataset.location, **changes)  # type: ignore[type-var, arg-type]
        self.dataset = replace(self.dataset, location=location)  # type: ignore[arg-type]
        self.datasets.datasets[:] = [self.dataset]

    def poller(self, *given: object, **options: object) -> Poller:
        """A poller at this world's time."""
        return super().poller(*given, **{"now": lambda: self.clock, **options})  # type: ignore[arg-type]

    def rows_of(self, file: FileRecord) -> list[Seen]:
        """The records of one window's reading."""
        return [record for record in self.seen() if record.where[0] == file.source_ref]

    def ids(self) -> list[str]:
        """Ids of all records of this dataset, sorted, each as often as it was published."""
        return sorted(record.value["ID"] for record in self.seen())

    def windows(self) -> list[str]:
        """FROM and TO of the files that ended well, in the order in which they were claimed."""
        done = [file for file in self.store.files if file.state is FileState.DONE and not file.error]
        return ["/".join(file.source_ref.partition("@")[0].split("/")[-2:]) for file in done]

    def close(self) -> None:
        """Close connections."""
        self.lose_publishers()
        self._consumer.close()
        if self.double:
            self.double.close()


def backoff(pauses: list[float] | None = None) -> Backoff:
    """One that notes the pauses it is asked for, and does not wait."""
    noted = pauses if pauses is not None else []

    class Noting(Backoff):
        def pause(self, seconds: float) -> None:
            noted.append(seconds)
            super().pause(0)

    return Noting(threading.Event(), 0.01)
