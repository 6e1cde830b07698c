"""Partitions are added only while nobody judges and nothing waits to be judged."""

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from producers.errors import BrokerUnavailable, PartitionsRefused
from producers.partitions import add_partitions
from schemas.topics import HOMES, PAYMENTS, READS
from sunledger import logs
from sunledger.cli import app
from sunledger.embedded.stack import Endpoints
from tests.support.workers import Sender, payment, wait_until


def partitions_of(kafka: str, topic: str) -> int:
    """How many partitions the broker says a topic has."""
    return len(
        AdminClient({"bootstrap.servers": kafka}).list_topics(topic, timeout=10).topics[topic].partitions
    )


def test_a_drained_topic_without_workers_gets_more(
    endpoints: Endpoints, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command says how many there were, and the broker has them."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)  # the log of this process is pytest's
    monkeypatch.setenv("SUNLEDGER_KAFKA", endpoints.kafka)
    monkeypatch.setenv("SUNLEDGER_TOPIC_PREFIX", kafka_prefix)
    found = CliRunner().invoke(app, ["add-partitions", "reads", "7"])
    topic = f"{kafka_prefix}reads"
    told = f"{topic} has 7 partitions now, it had {READS.partitions}\n"
    assert found.exit_code == 0, found.output
    assert found.stdout.endswith(told)
    wait_until(lambda: partitions_of(endpoints.kafka, topic) == 7, what="seven partitions")
    again = CliRunner().invoke(app, ["add-partitions", "reads", "7"])
    assert again.exit_code == 1
    assert "has 7 partitions: expected a number above that, at most 256, found 7" in again.stderr


@pytest.mark.parametrize("count", [0, PAYMENTS.partitions - 1, PAYMENTS.partitions, HOMES + 1])
def test_numbers_that_cannot_be_are_refused(endpoints: Endpoints, kafka_prefix: str, count: int) -> None:
    """Partitions are never taken away, and never more than homes."""
    with pytest.raises(PartitionsRefused, match=f"found {count}"):
        add_partitions(endpoints.kafka, kafka_prefix, f"{kafka_prefix}g", PAYMENTS, count)
    assert partitions_of(endpoints.kafka, f"{kafka_prefix}payments") == PAYMENTS.partitions


def test_rows_that_wait_to_be_judged_forbid_it(endpoints: Endpoints, kafka_prefix: str) -> None:
    """The message says how many there are."""
    sender = Sender(endpoints.kafka, kafka_prefix)
    sender.payments([payment(number) for number in range(3)], "org_1")
    sender.close()
    with pytest.raises(PartitionsRefused, match=r"3 records of .* are not judged"):
        add_partitions(endpoints.kafka, kafka_prefix, f"{kafka_prefix}g", PAYMENTS, 8)
    assert partitions_of(endpoints.kafka, f"{kafka_prefix}payments") == PAYMENTS.partitions


def test_a_group_with_members_forbids_it(endpoints: Endpoints, kafka_prefix: str) -> None:
    """Workers have to be stopped first."""
    group = f"{kafka_prefix}g"
    member = Consumer({"bootstrap.servers": endpoints.kafka, "group.id": group, "log_level": 0})
    member.subscribe([f"{kafka_prefix}payments"])
    wait_until(lambda: member.poll(0.1) is None and member.assignment(), what="the member")
    with pytest.raises(PartitionsRefused, match="has 1 members"):
        add_partitions(endpoints.kafka, kafka_prefix, group, PAYMENTS, 8)
    member.close()
    assert add_partitions(endpoints.kafka, kafka_prefix, group, PAYMENTS, 8) == PAYMENTS.partitions


def test_what_is_not_there_is_told(endpoints: Endpoints) -> None:
    """No topic, no broker: each has a message of its own."""
    with pytest.raises(PartitionsRefused, match=r"no topic never\.made\.payments"):
        add_partitions(endpoints.kafka, "never.made.", "g", PAYMENTS, 8)
    with pytest.raises(BrokerUnavailable, match="the broker does not do it"):
        add_partitions("127.0.0.1:1", "", "g", PAYMENTS, 8)
