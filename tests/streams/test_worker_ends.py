"""What ends a worker process: its exit code, and what it has committed by then."""

from collections.abc import Callable

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import PAYMENTS
from sunledger.embedded.stack import Endpoints
from tests.streams.conftest import StartWorker
from tests.support.workers import Sender, payment, wait_until


def set_commit(kafka: str, prefix: str, offset: int) -> None:
    """Set the group's offset of the first partition of payments."""
    partition = TopicPartition(PAYMENTS.full_name(prefix), 0, offset)
    asked = ConsumerGroupTopicPartitions(f"{prefix}sunledger", [partition])
    AdminClient({"bootstrap.servers": kafka}).alter_consumer_group_offsets([asked])[asked.group_id].result(10)


def test_a_log_shorter_than_the_commit_ends_the_worker(
    start_worker: StartWorker, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """The process ends with a non-zero exit instead of skipping what comes next."""
    set_commit(endpoints.kafka, kafka_prefix, 50)
    worker = start_worker(wait=False)
    assert wait_until(lambda: worker.child.poll() is not None, 60, "end") and worker.child.poll() == 1
    assert "OffsetsWentBack" in "\n".join(worker.child.tail(50))


def test_an_idle_worker_can_be_followed(start_worker: StartWorker) -> None:
    """A worker that saw no row leaves nothing behind that the next one would wait for."""
    start_worker().stop()
    start_worker()
