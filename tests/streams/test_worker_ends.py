"""What ends a worker process: its exit code, and what it has committed by then."""


from confluent_kafka.admin import AdminClient

from schemas.topics import PAYMENTS
from sunledger.embedded.stack import Endpoints
from tests.streams.conftest import StartWorker
from tests.streams.transport.rig import set_commit


def test_a_log_shorter_than_the_commit_ends_the_worker(
    start_worker: StartWorker, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """The process ends with a non-zero exit instead of skipping what comes next."""
    admin = AdminClient({"bootstrap.servers": endpoints.kafka})
    set_commit(admin, f"{kafka_prefix}sunledger", PAYMENTS.full_name(kafka_prefix), 0, 50)
    worker = start_worker(wait=False)
    worker.child.wait(15)
    print("\n".join(worker.child.tail(60)))
    assert worker.child.poll() == 1
    assert "OffsetsWentBack" in "\n".join(worker.child.tail(50))


def test_an_idle_worker_can_be_followed(start_worker: StartWorker) -> None:
    """A worker that saw no row leaves nothing behind that the next one would wait for."""
    start_worker().stop()
    start_worker()
