"""The verifier beside real workers: silent while they die and move about, loud when rows are missing."""

import json
import random
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer

from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.streams.verify_process import VerifierProcess
from tests.support.workers import Sender, WorkerProcess, payment, read, wait_until

StartVerifier = Callable[..., VerifierProcess]


@pytest.fixture
def start_verifier(
    endpoints: Endpoints, kafka_prefix: str, clickhouse: ClickHouse, tmp_path: Path
) -> Iterator[StartVerifier]:
    """Starts verifiers over this test's topics and tables; all are ended with the test."""
    started: list[VerifierProcess] = []

    def start(**settings: object) -> VerifierProcess:
        given = {"url": clickhouse.url, "kafka": endpoints.kafka, **settings}
        started.append(
            VerifierProcess(tmp_path, prefix=kafka_prefix, database=clickhouse.database, **given)  # type: ignore[arg-type]
        )
        return started[-1]

    yield start
    for verifier in started:
        verifier.child.stop(0.0)


def rows_of(clickhouse: ClickHouse) -> int:
    """Ledger rows."""
    return int(str(clickhouse.value("SELECT count() FROM ledger")))


def wait_compared(verifier: VerifierProcess, expected: int) -> None:
    """Return when everything was compared up to the ends of the logs, full passes included, and is well."""
    name = "sunledger_verify_last_full_pass_timestamp_seconds"
    wait_until(lambda: sum(verifier.metric("sunledger_verified_offset").values()) >= expected, 60, "new rows")
    seen = verifier.metric(name)
    wait_until(lambda: verifier.metric(name) != seen, 60, "a full pass")
    seen = verifier.metric(name)
    wait_until(lambda: verifier.metric(name) != seen, 60, "another one")


@pytest.mark.timeout(600)
def test_kills_and_rebalances_are_no_faults(
    start_worker: Callable[..., WorkerProcess],
    start_verifier: StartVerifier,
    sender: Sender,
    clickhouse: ClickHouse,
) -> None:
    """Forwarded, refused, repeated and changed rows, while workers die, stop, freeze and join."""
    dice = random.Random(4)
    org = sender.organization()
    for number in range(5):
        sender.device(org, f"D{number}")
    verifier = start_verifier()
    workers = [start_worker(), start_worker(wait=False)]
    sent = 0
    for strike in ("kill", "freeze", "join", "stop"):  # the fault harness has all of them, and more
        rows = [payment(dice.randrange(3000)) for _ in range(600)]
        rows += [payment(number, PAYMENT_AMOUNT=str(dice.choice((1, 5000)))) for number in range(50)]
        rows += [payment(number, CUSTOMER_ID=None) for number in range(20)]
        reads = [read(f"D{dice.randrange(6)}", dice.randrange(500)) for _ in range(200)]
        sender.payments(rows, org)
        sender.reads(reads, org)
        sent += len(rows) + len(reads)
        if strike == "kill":
            workers.pop(0).kill()
        elif strike == "stop":
            workers.pop(0).stop()
        elif strike == "freeze":
            workers[0].kill(signal.SIGSTOP)
        if strike != "freeze":
            workers.append(start_worker(wait=False))
        sender.payments([payment(dice.randrange(3000)) for _ in range(300)], org)
        sent += 300
        wait_until(lambda some=0.4 * sent: rows_of(clickhouse) > some, 120, "some of the rows")
        if strike == "join":
            for worker in workers:
                if worker.child.poll() is None:
                    worker.kill(signal.SIGCONT)
    wait_until(lambda: rows_of(clickhouse) == sent, 180, "all rows")
    wait_compared(verifier, sent)
    wait_until(lambda: verifier.why_not_ready() is None, 60, "readiness")
    assert verifier.metric("sunledger_verify_faults_total") == {}
    assert "verify_fault" not in verifier.log.read_text()
    assert clickhouse.value("SELECT sum(forwarded) FROM ledger_ranges") != 0
    assert clickhouse.value("SELECT sum(length(copies)) FROM ledger_ranges") != 0


def test_transaction_markers_are_no_faults(
    start_worker: Callable[..., WorkerProcess],
    start_verifier: StartVerifier,
    sender: Sender,
    clickhouse: ClickHouse,
    endpoints: Endpoints,
    kafka_prefix: str,
) -> None:
    """A transactional publisher leaves offsets without records; the ranges say which."""
    org = sender.organization()
    start_worker()
    producer = Producer(
        {"bootstrap.servers": endpoints.kafka, "transactional.id": kafka_prefix, "log_level": 0}
    )
    producer.init_transactions(30)
    for number in range(12):
        producer.begin_transaction()
        for part in range(2):
            value = json.dumps(payment(2 * number + part)).encode()
            producer.produce(f"{kafka_prefix}payments", value, partition=1, headers={"organization_id": org})
        producer.commit_transaction(30)
    sender.payments([payment(number) for number in range(100, 108)], org)
    wait_until(lambda: rows_of(clickhouse) == 32, 60, "the rows")
    verifier = start_verifier()
    wait_until(lambda: verifier.why_not_ready() is None, 60, "readiness")
    wait_compared(verifier, 32)
    assert verifier.metric("sunledger_verify_faults_total") == {}
    assert clickhouse.value("SELECT sum(length(markers)) FROM ledger_ranges") != 0


def test_a_fault_is_told_everywhere_while_it_lasts(
    start_worker: Callable[..., WorkerProcess],
    start_verifier: StartVerifier,
    sender: Sender,
    clickhouse: ClickHouse,
    kafka_prefix: str,
) -> None:
    """`/readyz`, metrics by topic and kind, a log line with topic, partition and offsets; then it ends."""
    org = sender.organization()
    worker = start_worker()
    sender.payments([payment(number) for number in range(200)], org)
    wait_until(lambda: rows_of(clickhouse) == 200, 60, "the rows")
    worker.stop()
    verifier = start_verifier()
    wait_until(lambda: verifier.why_not_ready() is None, 60, "readiness")
    partition, offset = clickhouse.rows("SELECT partition, offset FROM ledger ORDER BY position LIMIT 1")[0]
    names = "topic, position, organization_id, record_type, record_id, identity, content_hash, outcome"
    which = f"partition = {partition} AND offset = {offset}"
    clickhouse.client.command(
        f"CREATE TABLE kept ENGINE = Memory AS SELECT {names} FROM ledger WHERE {which}"
    )
    clickhouse.client.command(f"ALTER TABLE ledger_rows DELETE WHERE {which}", settings={"mutations_sync": 1})
    why = wait_until(verifier.why_not_ready, 60, "the report")
    assert f"no_outcome {kafka_prefix}payments[{partition}] {offset}..{offset} (1)" in why
    labels = f'{{kind="no_outcome",topic="{kafka_prefix}payments"}}'
    assert verifier.metric("sunledger_verify_faulty_offsets")[labels] == 1
    assert verifier.metric("sunledger_verify_faults_total")[labels] == 1
    lines = [json.loads(line) for line in verifier.log.read_text().splitlines() if '"verify_fault"' in line]
    told = next(line for line in lines if line["kind"] == "no_outcome")
    assert (told["topic"], told["partition"]) == (f"{kafka_prefix}payments", partition)
    assert (told["first_offset"], told["last_offset"], told["level"]) == (offset, offset, "error")
    clickhouse.client.command(
        f"INSERT INTO ledger_rows ({names}, partition, offset)"
        f" SELECT {names}, {partition}, {offset} FROM kept"
    )
    wait_until(lambda: verifier.why_not_ready() is None, 60, "the end of the report")
    assert verifier.metric("sunledger_verify_faulty_offsets") == {}
    assert "verify_fault_mended" in verifier.log.read_text()


def test_a_part_that_is_away_is_waited_for(start_verifier: StartVerifier) -> None:
    """Without the store, or the broker, nothing is compared: not ready, and it says so; the process stays."""
    silent = {"verify_stale_s": 0.5}
    storeless = start_verifier(url="http://x:y@127.0.0.1:9", **silent)
    brokerless = start_verifier(kafka="127.0.0.1:9", **silent)
    for part, verifier in (("clickhouse", storeless), ("kafka", brokerless)):
        failures = partial(verifier.metric, "sunledger_verify_failures_total")
        wait_until(lambda ask=failures, of=f'{{part="{part}"}}': ask().get(of), 90, part)
        wait_until(lambda ask=verifier.why_not_ready: "nothing was compared" in (ask() or ""), 60, "silence")
        assert verifier.child.poll() is None
    found = start_verifier()
    wait_until(lambda: found.why_not_ready() is None, 60, "readiness")
    found.child.send(signal.SIGTERM)
    assert found.child.wait(30) == 0
