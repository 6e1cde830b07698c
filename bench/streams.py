"""`make bench-streams`: a stock Faust agent, the batch transport and the whole path of reads, side by side.

Both agents run twice, and the faster run counts. All three read the same topic of reads on the same
broker, one worker process each, one after the other; the whole path decodes, validates, deduplicates,
matches devices and stores in ClickHouse over HTTP. Only the ratios mean anything: machines differ, and
share.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import faust
import orjson
from confluent_kafka import Producer
from yarl import URL

from producers.topics import create_topics
from schemas.identity import partition_of, read_key
from schemas.topics import READS
from sinks import client as clickhouse
from sinks.migrate import migrate
from streams.transport import BatchTransport, batch_topic, batches
from sunledger.embedded.process import Child
from sunledger.embedded.stack import Endpoints, Stack
from tests.support.workers import Sender, WorkerProcess, wait_until

ORGANIZATION = "org_bench"
DEVICES = 2_000
WHOLE_PATH_GOAL = 4.0
TRANSPORT_GOAL = 20.0


def fill(endpoints: Endpoints, prefix: str, rows: int) -> None:
    """Register devices and publish reads as our producers do: keyed, on the partition of their home."""
    sender = Sender(endpoints.kafka, prefix)
    sender.organization(ORGANIZATION)
    names = [f"D{number:06d}" for number in range(DEVICES)]
    for name in names:
        sender.device(ORGANIZATION, name)
    sender.close()
    keys = [read_key(ORGANIZATION, name) for name in names]
    places = [partition_of(key, READS.partitions) for key in keys]
    producer = Producer(
        {"bootstrap.servers": endpoints.kafka, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000}
    )
    headers = [("organization_id", ORGANIZATION.encode())]
    for number in range(rows):
        device = number % DEVICES
        start = 1_704_067_200 + number // DEVICES * 900
        value = orjson.dumps(
            {
                "device_external_id": names[device],
                "type": "Delta",
                "start": start,
                "end": start + 900,
                "value": 12.5,
                "unit": "kWh",
            }
        )
        producer.produce(
            READS.full_name(prefix), value, key=keys[device], partition=places[device], headers=headers
        )
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def agent_main(arguments: argparse.Namespace) -> None:
    """Child process: count messages with an agent that does nothing; prints rows per second."""
    url = [URL(f"kafka://{arguments.kafka}")]
    batched = arguments.agent == "batch"
    app = faust.App(
        f"bench-{arguments.agent}-{time.time_ns()}",
        broker=url,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        consumer_auto_offset_reset="earliest",
        **({"stream_buffer_maxsize": 2, "broker_max_poll_records": 20_000} if batched else {}),
        **({"consumer_max_fetch_size": 4 * 1024 * 1024} if batched else {}),
    )
    seen, began = 0, 0.0

    def count(rows: int) -> None:
        nonlocal seen, began
        began = began or time.monotonic()
        seen += rows
        if seen >= arguments.rows:
            print("\n" + json.dumps({"rows_per_second": seen / (time.monotonic() - began)}), flush=True)
            os._exit(0)

    if batched:
        app.transport = BatchTransport(url, app)

        async def batch_agent(stream: faust.StreamT) -> None:
            async for batch in batches(stream):
                if batch.take():
                    batch.done()
                    count(len(batch))

        app.agent(batch_topic(app, arguments.topic), name="empty")(batch_agent)
    else:

        async def stock_agent(stream: faust.StreamT) -> None:
            async for _ in stream:
                count(1)

        topic = app.topic(arguments.topic, value_serializer="raw", value_type=bytes)
        app.agent(topic, name="empty")(stock_agent)
    faust.Worker(app, quiet=True, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


def run_agent(kind: str, endpoints: Endpoints, topic: str, rows: int, folder: Path) -> float:
    """Rows per second of an agent that does nothing, in a process of its own."""
    argv = [sys.executable, "-m", "bench.streams", "--agent", kind, "--kafka", endpoints.kafka]
    child = Child.start(f"agent-{kind}", [*argv, "--topic", topic, "--rows", str(rows)], folder)
    if child.wait(600) != 0:
        raise SystemExit(f"the {kind} agent failed:\n" + "\n".join(child.tail(20)))
    # runs of one name share a log: the answer is the last one
    answer = [line for line in child.tail(20) if line.startswith("{")][-1]
    return float(json.loads(answer)["rows_per_second"])


def run_worker(endpoints: Endpoints, prefix: str, rows: int, folder: Path) -> float:
    """Rows per second of a worker over the whole path, from restored to the last row stored."""
    admin = clickhouse.connect(endpoints.clickhouse)
    migrate(admin, "bench")
    client = clickhouse.connect(endpoints.clickhouse, database="bench")
    worker = WorkerProcess(
        folder, endpoints.kafka, prefix, endpoints.clickhouse, "bench", session_timeout_s=20
    )
    try:
        worker.wait_ready(120)
        began = time.monotonic()

        def stored() -> bool:
            found = client.query("SELECT sum(rows) FROM ledger_ranges").result_rows[0][0]
            return bool(found == rows)

        wait_until(stored, 900, f"{rows} stored rows")
        taken = time.monotonic() - began
        accepted = client.query("SELECT count() FROM reads").result_rows[0][0]
        if accepted != rows:
            raise SystemExit(f"{rows} reads were sent, {accepted} are in the view")
        return rows / taken
    finally:
        worker.child.stop()
        client.close()
        admin.close()


def main(arguments: argparse.Namespace) -> int:
    """Run the three and print them with their ratios."""
    with tempfile.TemporaryDirectory() as name, Stack(Path(name) / "stack") as stack:
        endpoints, prefix, folder = stack.endpoints, "bench.", Path(name)
        create_topics(endpoints.kafka, prefix)
        print(f"filling the topic with {arguments.rows:,} reads", flush=True)
        fill(endpoints, prefix, arguments.rows)
        topic = READS.full_name(prefix)
        few = max(10_000, arguments.rows // 10)
        stock = [run_agent("stock", endpoints, topic, few, folder)]
        empty = [run_agent("batch", endpoints, topic, arguments.rows, folder)]
        whole = run_worker(endpoints, prefix, arguments.rows, folder)
        stock.append(run_agent("stock", endpoints, topic, few, folder))
        empty.append(run_agent("batch", endpoints, topic, arguments.rows, folder))
    base = max(stock)
    print(f"{'stock Faust, empty agent':30} {base:>10,.0f} rows/s{_runs(stock)}")
    fast = _line("batch transport, empty agent", empty, base, TRANSPORT_GOAL)
    return 0 if _line("whole path of reads, stored", [whole], base, WHOLE_PATH_GOAL) and fast else 1


def _line(name: str, rates: Sequence[float], base: float, goal: float) -> bool:
    rate = max(rates)
    ratio = rate / base
    print(f"{name:30} {rate:>10,.0f} rows/s   {ratio:5.1f} times stock (goal {goal:.0f}){_runs(rates)}")
    return ratio >= goal


def _runs(rates: Sequence[float]) -> str:
    """The runs of which the fastest counts, on either side."""
    return f"   (runs: {', '.join(f'{rate:,.0f}' for rate in rates)})" if len(rates) > 1 else ""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments of the bench and of its child processes."""
    parser = argparse.ArgumentParser(prog="bench.streams", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--agent", choices=["stock", "batch"])
    parser.add_argument("--kafka")
    parser.add_argument("--topic")
    return parser.parse_args(argv)


if __name__ == "__main__":
    given = parse(sys.argv[1:])
    sys.exit(agent_main(given) if given.agent else main(given))
