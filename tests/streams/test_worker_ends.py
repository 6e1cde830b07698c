"""What a worker process opens, and what ends it: its exit code, and what is committed by then."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from schemas.identity import split_position
from schemas.topics import PAYMENTS, TopicSpec
from sunledger.embedded.process import Child
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.streams.conftest import StartWorker
from tests.streams.transport.rig import set_commit
from tests.support import workers
from tests.support.workers import Sender, WorkerProcess, payment, wait_until

LISTEN = "0A"
FAULTY = Path(__file__).parent / "faulty_worker.py"


def ended(worker: WorkerProcess) -> int | None:
    """Exit code of a worker that ends by itself."""
    code = worker.child.wait(45)
    assert code is not None, "\n".join(worker.child.tail(30))
    return code


def listening(pid: int) -> set[int]:
    """Ports on which a process or its children listen."""
    found: set[int] = set()
    for child in (Path(f"/proc/{pid}/task/{pid}/children")).read_text().split():
        found |= listening(int(child))
    sockets = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.exists() or fd.is_symlink()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTEN and f"socket:[{inode}]" in sockets:
                found.add(int(local.split(":")[1], 16))
    return found


def test_a_worker_listens_on_its_operations_port_only(start_worker: StartWorker) -> None:
    """Faust's own web server, which would listen on every address, stays off."""
    worker = start_worker()
    assert listening(worker.child.pid) == {worker.port}


def test_a_log_shorter_than_the_commit_ends_the_worker(
    start_worker: StartWorker, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """The process ends with a non-zero exit instead of skipping what comes next."""
    admin = AdminClient({"bootstrap.servers": endpoints.kafka})
    set_commit(admin, f"{kafka_prefix}sunledger", PAYMENTS.full_name(kafka_prefix), 0, 50)
    worker = start_worker(wait=False)
    assert ended(worker) == 1
    assert "OffsetsWentBack" in "\n".join(worker.child.tail(50))


@pytest.mark.parametrize("fault", ["agent", "settle", "restore", "hole"])
def test_anything_unexpected_ends_the_worker(
    start_worker: StartWorker,
    sender: Sender,
    clickhouse: ClickHouse,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    """An exception nobody expected, in any step, is a non-zero exit; the next worker has every row."""
    organization = sender.organization()
    sender.payments([payment(number) for number in range(40)], organization)

    def start(name: str, argv: list[str], folder: Path, env: Any = None) -> Child:
        return Child.start(name, [argv[0], str(FAULTY), fault], folder, env=env)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "Child", SimpleNamespace(start=start))
        broken = start_worker(wait=False)
        assert ended(broken) == 1
    assert "Secret Name" not in broken.child.log_path.read_text()
    start_worker()
    wait_until(lambda: clickhouse.value("SELECT count() FROM ledger") == 40, 60, "40 ledger rows")
    assert clickhouse.value("SELECT count() FROM payments") == 40


def recreate(kafka: str, topic: TopicSpec, prefix: str) -> None:
    """Delete a topic and make it anew."""
    from producers.topics import create_topics

    name = topic.full_name(prefix)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([name])[name].result(10)
    wait_until(lambda: name not in admin.list_topics(timeout=5).topics)
    create_topics(kafka, prefix, specs=[topic])


def test_a_topic_made_anew_ends_the_worker_and_is_no_replay(
    start_worker: StartWorker, sender: Sender, clickhouse: ClickHouse, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Its rows get positions of a new epoch: they are judged and stored, not taken for redeliveries."""
    organization = sender.organization()
    worker = start_worker()
    sender.payments([payment(number) for number in range(20)], organization)
    wait_until(lambda: clickhouse.value("SELECT count() FROM ledger") == 20, 60, "20 ledger rows")
    recreate(endpoints.kafka, PAYMENTS, kafka_prefix)
    assert ended(worker) == 1
    fresh = Sender(endpoints.kafka, kafka_prefix)
    fresh.payments([payment(number) for number in range(10, 30)], organization)
    fresh.close()
    start_worker()
    wait_until(lambda: clickhouse.value("SELECT count() FROM ledger") == 40, 60, "40 ledger rows")
    found = clickhouse.rows("SELECT position, outcome FROM ledger_rows")
    epochs = [(split_position(int(str(at)))[0], outcome) for at, outcome in found]
    assert sorted(set(epochs)) == [(0, "accepted"), (1, "accepted"), (1, "duplicate")]
    assert clickhouse.value("SELECT count() FROM payments") == 30


def test_rows_of_unknown_things_replay_themselves(
    start_worker: StartWorker, sender: Sender, clickhouse: ClickHouse
) -> None:
    """When the missing organisation, dataset or device is registered, what waited for it is stored."""
    known, late = sender.organization(), "org_late"
    start_worker()
    sender.payments([payment(number) for number in range(3)], late)
    sender.payments([payment(7)], known, dataset_id="ds_late")
    sender.reads([workers.read(" D1 ", 1)], known)
    wait_until(lambda: clickhouse.value("SELECT count() FROM quarantine") == 5, 60, "5 quarantined rows")
    sender.organization(late)
    sender.device(known, "D1")
    sender.register(
        "datasets",
        {
            "id": "ds_late", "number": 1, "version": 1, "changed_at": "2026-01-01T00:00:00.000Z",
            "archived": False, "organization_id": known, "name": "D", "provider": "P", "source": "s3",
            "type": "electricity_payments", "target": "project", "project_ids": ["prj_1"],
            "programme_id": None, "id_namespace": "", "conflict_rule": {}, "default_currency": None,
            "schedule": "", "state": "active", "profile": "s3",
        },
    )  # fmt: skip
    accepted = "SELECT count() FROM ledger WHERE outcome = 'accepted' AND replay_of IS NOT NULL"
    wait_until(lambda: clickhouse.value(accepted) == 5, 60, "5 replayed rows")
    assert clickhouse.value("SELECT count() FROM payments") == 4
    assert clickhouse.value("SELECT count() FROM reads") == 1
