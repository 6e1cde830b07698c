"""Brakes in a running worker: who is told, what is held back, and what goes on meanwhile."""

import json
import urllib.error
import urllib.request
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from streams.brakes import MIN_ORGANIZATION_ROWS
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.streams.conftest import StartWorker
from tests.support.workers import Sender, WorkerProcess, payment, read, wait_until

BAD = {"PAYMENT_AMOUNT": "1,234,56"}


def alerts(kafka: str, prefix: str) -> list[dict[str, Any]]:
    """Everything told so far."""
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": "looks", "enable.partition.eof": True, "log_level": 0}
    )
    consumer.assign([TopicPartition(f"{prefix}alerts", 0, OFFSET_BEGINNING)])
    found = []
    while (message := consumer.poll(60)) is not None and message.error() is None:
        found.append(json.loads(message.value() or b""))
    consumer.close()
    return found


def not_ready(worker: WorkerProcess) -> str:
    """What `/readyz` says is missing; empty when ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/readyz", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return str(json.loads(error.read())["detail"])
    except urllib.error.URLError:
        return "no answer"


def test_one_failing_sender_is_told_and_stops_nobody(
    start_worker: StartWorker, sender: Sender, clickhouse: ClickHouse, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Its rows end in quarantine, everybody else's are stored, the topic goes on."""
    good, bad = sender.organization(), sender.organization()
    worker = start_worker()
    sender.payments([payment(number, **BAD) for number in range(1000)], bad)
    sender.payments([payment(number) for number in range(100)], good)
    wait_until(lambda: clickhouse.value("SELECT count() FROM ledger") == 1100, 60, "1,100 ledger rows")
    assert clickhouse.value("SELECT count() FROM payments") == 100
    (told,) = wait_until(lambda: alerts(endpoints.kafka, kafka_prefix), 60, "an alert")
    assert (told["kind"], told["organization_id"], told["dataset_id"]) == ("dataset_failing", bad, "")
    assert told["reasons"] == ["bad_decimal:PAYMENT_AMOUNT"]
    assert 200 <= told["bad"] == told["rows"] <= 1000
    assert "1,234" not in json.dumps(told)
    assert not_ready(worker) == ""


def test_a_topic_stops_when_most_organizations_fail_and_another_goes_on(
    start_worker: StartWorker, sender: Sender, clickhouse: ClickHouse
) -> None:
    """Nothing of it is judged or committed; whoever starts next, with the brake off, judges everything."""
    organizations = [sender.organization() for _ in range(4)]
    sender.device(organizations[0], "D1")
    for organization in organizations:
        sender.payments([payment(number, **BAD) for number in range(MIN_ORGANIZATION_ROWS)], organization)
    sent = len(organizations) * MIN_ORGANIZATION_ROWS
    worker = start_worker(wait=False)
    wait_until(lambda: "stopped" in not_ready(worker), 60, "the stop")
    assert "payments" in not_ready(worker)
    sender.reads([read("D1", number) for number in range(20)], organizations[0])
    wait_until(lambda: clickhouse.value("SELECT count() FROM reads") == 20, 60, "20 reads")
    judged = "SELECT count() FROM ledger WHERE record_type = 'payment'"
    held = int(str(clickhouse.value(judged)))
    assert held < sent, "the turn in which most failed was written"
    assert 'sunledger_topic_stopped{topic="payments"} 1.0' in worker.metrics()
    assert worker.stop(90) is not None
    assert clickhouse.value(judged) == held
    start_worker(topic_brake=False)
    wait_until(lambda: clickhouse.value(judged) == sent, 60, "all judged payments")
    assert clickhouse.value("SELECT count() FROM quarantine") == sent
