"""One installation in a stack: fresh topics, a fresh database, and the workers that are started in it."""

import dataclasses
import secrets
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from producers.topics import create_topics
from schemas.topics import PAYMENTS, TOPICS
from sinks import client as clickhouse
from sinks.migrate import migrate
from sunledger.embedded.stack import Endpoints
from tests.faults.books import Books
from tests.support.workers import Sender, WorkerProcess, wait_until

GROUP = "sunledger"
SHORT = {
    "session_timeout_s": 3,
    "heartbeat_s": 0.5,
    "rebalance_timeout_s": 4,
    "insert_limit_s": 2,
    "commit_interval_s": 0.3,
}
"""Short times, so that an outage of seconds is longer than all of them."""


class World:
    """Topics, tables, an auditor and a sender; `close` ends every worker."""

    def __init__(self, endpoints: Endpoints, folder: Path, payment_partitions: int = 4) -> None:
        self.endpoints = endpoints
        self.folder = folder
        self.prefix = f"f{secrets.token_hex(4)}."
        self.database = f"f_{secrets.token_hex(6)}"
        wider = dataclasses.replace(PAYMENTS, partitions=payment_partitions)
        create_topics(
            endpoints.kafka, self.prefix, specs=[wider if spec is PAYMENTS else spec for spec in TOPICS]
        )
        admin = clickhouse.connect(endpoints.clickhouse)
        migrate(admin, self.database)
        admin.close()
        self.books = Books(endpoints.kafka, self.prefix, GROUP, endpoints.clickhouse, self.database)
        self.sender = Sender(endpoints.kafka, self.prefix)
        self.workers: list[WorkerProcess] = []
        self.given_up: list[WorkerProcess] = []

    def start(self, *, wait: bool = True, **settings: object) -> WorkerProcess:
        """Start a worker with short times; by default return when it is ready."""
        worker = WorkerProcess(
            self.folder,
            self.endpoints.kafka,
            self.prefix,
            self.endpoints.clickhouse,
            self.database,
            "sunledger",
            **{**SHORT, **settings},
        )
        self.workers.append(worker)
        if wait:
            worker.wait_ready()
        return worker

    def wait_drained(self, topics: Iterable[str], limit_s: float = 150.0) -> None:
        """Return when everything sent is committed; fails at once when a worker has failed."""

        def done() -> bool:
            for worker in self.workers:
                failed = worker.child.poll() == 1 and worker not in self.given_up
                assert not failed, "a worker failed:\n" + "\n".join(worker.child.tail(20))
            return not self.books.behind(topics)

        try:
            wait_until(done, limit_s, "the end of every partition")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.books.behind(topics)}\n{self._stacks()}") from None

    def _stacks(self) -> str:
        """Where every living worker is: Faust writes its stacks into the log on SIGUSR1."""
        living = [worker for worker in self.workers if worker.child.poll() is None]
        sizes = [worker.log.stat().st_size for worker in living]
        for worker in living:
            worker.kill(signal.SIGUSR1)
        time.sleep(1.0)
        texts = [worker.log.read_bytes()[size:] for worker, size in zip(living, sizes, strict=True)]
        return b"\n".join(texts).decode(errors="replace")

    def shares(self, topic: str) -> list[list[int]]:
        """Partitions of a topic by group member, of members that have any; empty while the group moves."""
        group = f"{self.prefix}{GROUP}"
        admin = AdminClient({"bootstrap.servers": self.endpoints.kafka, "log_level": 0})
        described = admin.describe_consumer_groups([group])[group].result(20)
        if described.state != ConsumerGroupState.STABLE:
            return []
        shares = [
            sorted(
                tp.partition for tp in member.assignment.topic_partitions if tp.topic == self.prefix + topic
            )
            for member in described.members
        ]
        return sorted(share for share in shares if share)

    def logs(self) -> str:
        """The logs of all workers."""
        return "\n".join(
            worker.log.read_text(errors="replace") for worker in self.workers if worker.log.exists()
        )

    def close(self) -> None:
        """End everything that was started."""
        for worker in self.workers:
            worker.child.stop(0.0)
        self.sender.close()
        self.books.close()


def alive(*workers: WorkerProcess) -> bool:
    """Whether all of these workers run."""
    return all(worker.child.poll() is None for worker in workers)


def resident_mb(worker: WorkerProcess) -> float:
    """Resident memory of a worker, MB."""
    for line in Path(f"/proc/{worker.child.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the worker has no memory")
