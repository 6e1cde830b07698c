"""Workers and senders of the streams' tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.support.workers import Sender, WorkerProcess

StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def sender(endpoints: Endpoints, kafka_prefix: str) -> Iterator[Sender]:
    """Publishes to this test's topics."""
    made = Sender(endpoints.kafka, kafka_prefix)
    yield made
    made.close()


@pytest.fixture
def start_worker(
    endpoints: Endpoints, kafka_prefix: str, clickhouse: ClickHouse, tmp_path: Path
) -> Iterator[StartWorker]:
    """Starts workers of this test's group; all are ended with the test."""
    started: list[WorkerProcess] = []

    def start(*, wait: bool = True, **settings: object) -> WorkerProcess:
        worker = WorkerProcess(
            tmp_path, endpoints.kafka, kafka_prefix, clickhouse.url, clickhouse.database, **settings
        )
        started.append(worker)
        if wait:
            worker.wait_ready()
        return worker

    yield start
    for worker in started:
        worker.child.stop(0.0)
