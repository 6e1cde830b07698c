"""`make bench-intake`: rows a second from a payments CSV to its topic in one process, beside plain parsing.

The file has 21 columns and a million rows by default, of customers who pay twenty times each. The way is that
of every channel: the reader, the pseudonyms and seals, the records, the acknowledgement by the broker. It is
measured up to the last acknowledgement. Beside it the same file is parsed by the standard library and by
polars, which do nothing else with it. Each runs in a process of its own, one after the other.
"""

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from producers.backoff import Backoff
from producers.collector import collect_seldom
from producers.contracts import Dataset, FileRecord, FileState, SheetLocation
from producers.feed import RowFeed
from producers.hashing import HashingSource
from producers.pace import Pace
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from producers.rows import RowRecords
from producers.tabular import Row, Table
from producers.topics import create_topics
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS
from sunledger.embedded.stack import Stack
from tests.producers.memory_store import MemoryRunStore

ROWS = 1_000_000
GOAL_ROWS_PER_S = 100_000
PAYMENTS_PER_CUSTOMER = 20
HEADER = (
    "ID,TIMESTAMP,PAYMENT_AMOUNT,PAYMENT_CURRENCY,TRANSACTION_TYPE,TRANSACTION_CHARGES,REFERENCE_ID,CUSTOMER_ID,"
    "METER_ID,CUSTOMER_NAME,CUSTOMER_PHONE,CUSTOMER_CATEGORY,FINANCING_ID,AGENT_ID,LATITUDE,LONGITUDE,UTILITY_ID,"
    "FAILED_BATTERY_CAPACITY_COUNT,ACCOUNT_TYPE,STATUS,NOTES"
)


def write_file(path: Path, rows: int) -> None:
    """A file of payments; who pays when is random, from a fixed seed."""
    draw = random.Random(20_260_516)
    customers = max(rows // PAYMENTS_PER_CUSTOMER, 1)
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER + "\n")
        for number in range(rows):
            who = draw.randrange(customers)
            minute = number % 1440
            file.write(
                f"UC{number:08d},2026-05-{number % 28 + 1:02d}T{minute // 60:02d}:{minute % 60:02d}:01Z,"
                f"{draw.randrange(500, 20000)}.50,NGN,INSTALLMENT_PAYMENT,10,REF{number},C{who},SN{who:08d},"
                f"Customer {who},+23480{who:08d},Residential,FIN-ASSET-{who % 97},Agent {who % 200},"
                f"6.{who % 10000:04d},3.{who % 10000:04d},U{who % 50},0,Prepaid,processed,\n"
            )


def intake(path: Path, kafka: str, prefix: str) -> dict[str, float]:
    """The way of a file into the topic; peak memory in MB includes the interpreter and its modules."""
    collect_seldom(50_000)
    dataset = Dataset("dts_bench", "org_bench", "s3", "daily", SheetLocation("bench"))
    file = FileRecord(
        "fil_bench", "run_bench", dataset.id, "s3://bench/file@1", FileState.CLAIMED, datetime.now(UTC)
    )
    publisher = Publisher(kafka, client_id="bench", delivery_timeout_s=FILE_DELIVERY_TIMEOUT_S)
    rows = RowRecords(PAYMENTS.full_name(prefix), Pseudonymizer(b"p" * 32), Sealer(b"s" * 32))
    stop = threading.Event()
    feed = RowFeed(
        MemoryRunStore(),
        publisher,
        rows,
        Backoff(stop),
        lambda: datetime.now(UTC),
        lambda _dataset: Pace(lambda: 0, lambda: True, lambda _seconds: None),
    )

    @contextmanager
    def opened() -> Iterator[Iterator[list[Row]]]:
        with path.open("rb") as source:
            yield Table(HashingSource(source), dataset.profile, lambda: path.open("rb")).batches()

    started = time.perf_counter()
    received = feed.publish(dataset, file, "s3", opened)
    seconds = time.perf_counter() - started
    publisher.close()
    return {"rows": received, "seconds": seconds, "peak_mb": _peak_mb()}


def standard_library(path: Path, _kafka: str, _prefix: str) -> dict[str, float]:
    """csv.reader over the file and nothing else."""
    started = time.perf_counter()
    with path.open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.reader(file)) - 1
    return {"rows": rows, "seconds": time.perf_counter() - started, "peak_mb": _peak_mb()}


def polars(path: Path, _kafka: str, _prefix: str) -> dict[str, float]:
    """polars.read_csv, all columns text, on one thread."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars as pl  # noqa: PLC0415 - it counts the threads when it is imported

    started = time.perf_counter()
    rows = len(pl.read_csv(path, infer_schema=False))
    return {"rows": rows, "seconds": time.perf_counter() - started, "peak_mb": _peak_mb()}


CONTESTANTS: dict[str, Callable[[Path, str, str], dict[str, float]]] = {
    "file to topic": intake,
    "csv.reader alone": standard_library,
    "polars.read_csv alone": polars,
}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def arrived(kafka: str, topic: str) -> int:
    """Records in the topic, counted by their offsets."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "bench-count"})
    ends = [
        consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
        for number in range(PAYMENTS.partitions)
    ]
    consumer.close()
    return sum(ends)


def main(arguments: Sequence[str]) -> int:
    """Run all sides; 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--side", choices=list(CONTESTANTS), help="run one side here and print its figures")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--kafka", default="")
    parser.add_argument("--prefix", default="")
    given = parser.parse_args(arguments)
    if given.side:
        print(json.dumps(CONTESTANTS[given.side](given.file, given.kafka, given.prefix)))
        return 0
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "stack", parts=("kafka",)) as stack:
        path = Path(folder) / "ELECTRICITY_PAYMENT.csv"
        write_file(path, given.rows)
        create_topics(stack.endpoints.kafka, "bench.")
        print(f"{given.rows:,} rows, {path.stat().st_size / given.rows:.0f} bytes each")
        rates: dict[str, float] = {}
        for name in CONTESTANTS:
            found = _run(name, path, stack.endpoints.kafka)
            if found["rows"] != given.rows:
                print(f"{name}: {found['rows']:,} rows of {given.rows:,}", file=sys.stderr)
                return 1
            rates[name] = found["rows"] / found["seconds"]
            print(f"{name:22} {rates[name]:>12,.0f} rows/s   peak {found['peak_mb']:,.0f} MB")
        count = arrived(stack.endpoints.kafka, PAYMENTS.full_name("bench."))
        rate = rates["file to topic"]
        print(f"in the topic           {count:>12,} records")
        print(f"file to topic is {rate / rates['csv.reader alone']:.2f} of csv.reader alone")
        print(
            f"goal                   {GOAL_ROWS_PER_S:>12,} rows/s:"
            f" {'met' if rate >= GOAL_ROWS_PER_S else 'missed'}"
        )
        return 0 if rate >= GOAL_ROWS_PER_S and count == given.rows else 1


def _run(side: str, path: Path, kafka: str) -> dict[str, float]:
    """One side in a process of its own."""
    out = path.with_suffix(".json")
    command = [sys.executable, "-m", "bench.intake", "--side", side, "--file", str(path), "--kafka", kafka]
    with out.open("wb") as target:
        subprocess.run([*command, "--prefix", "bench."], stdout=target, check=True)
    found: dict[str, float] = json.loads(out.read_text().splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
