"""Several poller processes over one database and one bucket, killed and stopped: each file is moved once."""

import io
import json
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from api_helpers import record_headers, topic_records
from botocore.client import Config
from sqlalchemy import select

from api import ids
from api.db import Database
from api.models import Dataset, Organization
from api.sealing import CredentialBox
from api.tables import DatasetPoll, Run, RunFile
from schemas.topics import PAYMENTS
from sunledger.embedded.stack import Endpoints
from tests.support.polling import KEY
from tests.support.workers import wait_until

NAME = "ELECTRICITY_PAYMENT.csv"
HEADER = (
    "ID,TIMESTAMP,PAYMENT_AMOUNT,PAYMENT_CURRENCY,TRANSACTION_TYPE,CUSTOMER_ID,METER_ID,CUSTOMER_NAME,"
    "CUSTOMER_PHONE"
)


class Place:
    """A bucket with a dataset for each prefix, and the pollers' processes."""

    def __init__(self, endpoints: Endpoints, topic_prefix: str, sql_url: str, datasets: int) -> None:
        self.s3, self.kafka, self.topic_prefix, self.sql_url = (
            endpoints.s3,
            endpoints.kafka,
            topic_prefix,
            sql_url,
        )
        self.db = Database(sql_url)
        self.bucket = f"polling-{secrets.token_hex(4)}"
        self.files = boto3.client(
            "s3",
            endpoint_url=self.s3.url,
            region_name="us-east-1",
            aws_access_key_id=self.s3.access_key,
            aws_secret_access_key=self.s3.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )
        self.files.create_bucket(Bucket=self.bucket)
        self.datasets = self._registered(datasets)
        self.children: list[subprocess.Popen[bytes]] = []

    def _registered(self, count: int) -> dict[str, str]:
        """Datasets by their prefixes."""
        organization = Organization(id=ids.new_id("org"), name="Solar Ltd")
        found = {}
        with self.db.write() as session:
            session.add(organization)
            session.flush()
            for number in range(count):
                dataset_id, prefix = ids.new_id("ds"), f"site{number}/"
                place = {"bucket": self.bucket, "prefix": prefix, "endpoint_url": self.s3.url, "region": "x"}
                keys = {"access_key": self.s3.access_key, "secret_key": self.s3.secret_key}
                session.add(
                    Dataset(
                        id=dataset_id, organization_id=organization.id, name="n", provider="p", source="s3",
                        type="electricity_payments", target="project", project_ids=[], conflict_rule={},
                        schedule="1", state="active", location=place,
                        sealed_credentials=CredentialBox(KEY).seal(dataset_id, keys),
                    )
                )  # fmt: skip
                found[prefix] = dataset_id
        return found

    def put(self, prefix: str, day: int, rows: int) -> None:
        """Drop a file whose rows no other file has."""
        rows_of = [
            f"{prefix}{day}-{n},2021-05-16T14:16:01,5,NGN,FULL_PAYMENT,C,M,Jo,+2345" for n in range(rows)
        ]
        data = "\n".join([HEADER, *rows_of, ""]).encode()
        self.files.upload_fileobj(io.BytesIO(data), self.bucket, prefix + NAME)

    def keys(self) -> list[str]:
        """All keys of the bucket."""
        found = self.files.list_objects_v2(Bucket=self.bucket)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def begin(self) -> subprocess.Popen[bytes]:
        """One more process."""
        given = {"sql_url": self.sql_url, "kafka": self.kafka, "topic_prefix": self.topic_prefix}
        child = subprocess.Popen([sys.executable, "-m", "tests.support.polling", json.dumps(given)])
        self.children.append(child)
        return child

    def held_by(self) -> set[str | None]:
        """Who holds datasets now."""
        with self.db.read() as session:
            return set(session.scalars(select(DatasetPoll.holder).where(DatasetPoll.holder.is_not(None))))

    def freeze(self, child: subprocess.Popen[bytes]) -> None:
        """Stop a process outside of a write to SQLite, whose lock would hold everybody until it goes on."""
        while True:
            child.send_signal(signal.SIGSTOP)
            with sqlite3.connect(self.sql_url.removeprefix("sqlite:///"), timeout=5) as raw:
                try:
                    raw.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    child.send_signal(signal.SIGCONT)
                    continue
                raw.rollback()
            return

    def waiting(self) -> list[str]:
        """Files that nobody has dealt with."""
        return [key for key in self.keys() if key.count("/") == 1]

    def rows(self) -> dict[tuple[str, str], str]:
        """Payment ids in the topic by file and line."""
        found = {}
        for message in topic_records(self.kafka, PAYMENTS.full_name(self.topic_prefix)):
            headers = record_headers(message)
            found[headers["source_ref"], headers["line"]] = json.loads(message.value() or b"")["ID"]
        return found

    def close(self) -> None:
        """End what was begun."""
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait(30)
        self.files.close()
        self.db.close()


@contextmanager
def closing(place: Place) -> Iterator[Place]:
    """The place, closed at the end."""
    try:
        yield place
    finally:
        place.close()


def check(place: Place, files: int, rows: int) -> None:
    """Every file is in its place once, with a record of its own; every row is in the topic under one line."""
    moved = place.keys()
    assert len(moved) == files, moved
    assert all(key.split("/")[1] == "Processed" for key in moved)
    with place.db.read() as session:
        known = session.scalars(select(RunFile)).all()
    assert sorted(str(file.destination) for file in known) == sorted(moved)
    assert {file.state for file in known} == {"deleted"}
    assert [file.received for file in known] == [rows] * files
    found = place.rows()
    assert len(found) == files * rows
    assert len(set(found.values())) == files * rows


@pytest.mark.timeout(280)
def test_processes_that_are_killed_and_stopped(
    endpoints: Endpoints, kafka_prefix: str, sql_url: str, tmp_path: Path
) -> None:
    """Whatever happens to which of them, no file is lost, left, moved twice or published under two names."""
    datasets, days, rows = 3, 4, 700
    with closing(Place(endpoints, kafka_prefix, sql_url, datasets)) as place:
        first, second = place.begin(), place.begin()
        for day in range(days):
            for prefix in place.datasets:
                place.put(prefix, day, rows)
            fates: dict[int, Callable[[], Any]] = {
                0: first.kill,
                1: lambda: place.freeze(second),
                2: lambda: second.send_signal(signal.SIGCONT),
            }
            wait_until(lambda: place.held_by() or not place.waiting(), 120, "a poller at work")
            fates.get(day, lambda: None)()
            if day == 0:
                first = place.begin()
            wait_until(lambda: not place.waiting(), 120, f"the files of day {day}")
        wait_until(lambda: not place.held_by(), 120, "the end of all runs")
        for child in (first, second):
            child.send_signal(signal.SIGTERM)
            assert child.wait(60) == 0
        check(place, datasets * days, rows)
        with place.db.read() as session:
            assert set(session.scalars(select(Run.state))) <= {"done", "requested"}


@pytest.mark.timeout(280)
def test_a_process_that_was_stopped_while_it_worked(
    endpoints: Endpoints, kafka_prefix: str, sql_url: str
) -> None:
    """Stopped in the middle of a file for longer than its lease, and woken after another one did it all."""
    rows = 40_000
    with closing(Place(endpoints, kafka_prefix, sql_url, 1)) as place:
        stopped = place.begin()
        place.put("site0/", 0, rows)

        def files() -> list[RunFile]:
            with place.db.read() as session:
                return list(session.scalars(select(RunFile)))

        wait_until(files, 120, "the file to be claimed")
        place.freeze(stopped)
        assert files()[0].state == "claimed"
        (holder,) = place.held_by()
        place.begin()
        wait_until(lambda: not place.waiting() and not place.held_by() - {holder}, 120, "the other one")
        stopped.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        place.put("site0/", 1, 1)
        wait_until(lambda: not place.waiting() and not place.held_by(), 120, "the next file")
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(60) == 0
        found = place.rows()
        assert len(found) == len(set(found.values())) == rows + 1
        assert sorted(file.received for file in files()) == [1, rows]
        assert len(place.keys()) == 2
