"""Worker processes and what is sent to them, for tests of whole paths."""

import os
import secrets
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from producers.publisher import Publisher, Record
from schemas.topics import PAYMENTS, READS, REGISTRY
from sunledger.embedded.process import Child

SECRET = urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode()


def wait_until(
    condition: Callable[[], Any], limit_s: float = 60.0, what: str | Callable[[], str] = "condition"
) -> Any:
    """The first true value of a condition, looked at often; fails after `limit_s` seconds.

    `what` is told then; as a function it is asked only then. Looking takes a third of the time at most: what
    is waited for needs the processor too.
    """
    deadline = time.monotonic() + limit_s
    while True:
        began = time.monotonic()
        found = condition()
        if found:
            return found
        ended = time.monotonic()
        if ended > deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"{told} did not come true within {limit_s:.0f} s; last: {found!r}")
        time.sleep(min(max(0.05, 2 * (ended - began)), 1.0))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WorkerProcess:
    """One `sunledger worker`, ended with this object; its log is in `log`."""

    def __init__(
        self,
        folder: Path,
        kafka: str,
        prefix: str,
        url: str,
        database: str,
        module: str = "sunledger",
        **settings: object,
    ) -> None:
        self.port = free_port()
        self.log = folder / f"worker-{self.port}.log"
        env = {
            **os.environ,
            "SUNLEDGER_KAFKA": kafka,
            "SUNLEDGER_TOPIC_PREFIX": prefix,
            "SUNLEDGER_CLICKHOUSE_URL": url,
            "SUNLEDGER_CLICKHOUSE_DATABASE": database,
            "SUNLEDGER_PSEUDONYM_SECRET": SECRET,
            "SUNLEDGER_SEAL_SECRET": SECRET,
            "SUNLEDGER_OPS_PORT": str(self.port),
            "SUNLEDGER_SESSION_TIMEOUT_S": "6",
            "SUNLEDGER_HEARTBEAT_S": "1",
            "SUNLEDGER_INSERT_LIMIT_S": "2",
            **{f"SUNLEDGER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.child = Child.start(
            f"worker-{self.port}", [sys.executable, "-m", module, "worker"], folder, env=env
        )

    def ready(self) -> bool:
        """Whether it owns its partitions and has restored them."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, limit_s: float = 60.0) -> None:
        """Return when it is ready; fails with its last log lines when it ends or takes too long."""

        def settled() -> bool:
            return self.ready() or self.child.poll() is not None

        try:
            wait_until(settled, limit_s, "the worker's readiness")
        finally:
            if not self.ready():
                raise AssertionError("the worker is not ready:\n" + "\n".join(self.child.tail(30)))

    def metrics(self) -> str:
        """What `/metrics` says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to it."""
        self.child.send(number)

    def stop(self, limit_s: float = 30.0) -> int | None:
        """SIGTERM, and its exit code; it is killed, and None returned, when it takes too long."""
        self.child.send(signal.SIGTERM)
        return self.child.wait(limit_s)


def payment(number: int, **changes: Any) -> dict[str, Any]:
    """A good payment row of the S3 document; None as a change takes the field away."""
    row: dict[str, Any] = {
        "ID": f"P{number}",
        "TIMESTAMP": "2026-05-16T14:16:01",
        "PAYMENT_AMOUNT": "5000",
        "PAYMENT_CURRENCY": "Naira",
        "TRANSACTION_TYPE": "INSTALLMENT_PAYMENT",
        "CUSTOMER_ID": f"C{number % 97}",
        "METER_ID": f"M{number % 97}",
        "CUSTOMER_NAME": f"Secret Name {number}",
        "CUSTOMER_PHONE": f"+23480{number:08d}",
        **changes,
    }
    return {name: value for name, value in row.items() if value is not None}


def read(device: str, number: int, **changes: Any) -> dict[str, Any]:
    """A good Delta read, a quarter of an hour long."""
    start = 1_767_225_600 + number * 900
    row = {
        "device_external_id": device,
        "type": "Delta",
        "start": start,
        "end": start + 900,
        "value": 12.5,
        "unit": "kWh",
        **changes,
    }
    return {name: value for name, value in row.items() if value is not None}


class Sender:
    """Publishes as an outsider would: any partition, only the headers that are given."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._publisher = Publisher(kafka, delivery_timeout_s=60.0)
        self._prefix = prefix

    def register(self, kind: str, value: Mapping[str, Any]) -> None:
        """Publish one registry message."""
        self.send([Record(REGISTRY[kind].full_name(self._prefix), value["id"].encode(), orjson.dumps(value))])

    def organization(self, name: str = "") -> str:
        """Register an organisation; its id."""
        found = name or f"org_{secrets.token_hex(4)}"
        self.register("organizations", {**_base(found), "name": "Solar Ltd"})
        return found

    def device(self, organization_id: str, external_id: str) -> None:
        """Register a device."""
        self.register(
            "devices",
            {
                **_base(f"dev_{organization_id}_{external_id}"),
                "organization_id": organization_id,
                "project_id": "prj_1",
                "external_id": external_id,
                "manufacturer": "HOP",
                "serial_number": f"S{external_id}",
                "capacity_kw": 5.0,
                "commissioned_on": None,
                "onboarded_at": None,
            },
        )

    def connection(self, organization_id: str, project_id: str, external_id: str, **more: Any) -> str:
        """Register a connection; its id."""
        found = f"con_{organization_id}_{external_id}"
        self.register(
            "connections",
            {
                **_base(found),
                "organization_id": organization_id,
                "project_id": project_id,
                "external_id": external_id,
                "customer_external_id": None,
                "device_id": None,
                "valid_from": None,
                "valid_to": None,
                **more,
            },
        )
        return found

    def project(self, organization_id: str, project_id: str) -> None:
        """Register a project."""
        self.register(
            "projects",
            {
                **_base(project_id),
                "organization_id": organization_id,
                "name": "P",
                "country": "NG",
                "programme_ids": [],
            },
        )

    def payments(
        self, rows: Iterable[Mapping[str, Any] | bytes], organization_id: str, **headers: str
    ) -> None:
        """Publish payment rows round-robin over the partitions, as an outsider's partitioner might."""
        self._data(PAYMENTS.full_name(self._prefix), rows, organization_id, headers)

    def reads(self, rows: Iterable[Mapping[str, Any] | bytes], organization_id: str, **headers: str) -> None:
        """Publish reads."""
        self._data(READS.full_name(self._prefix), rows, organization_id, headers)

    def _data(
        self, topic: str, rows: Iterable[Any], organization_id: str, headers: Mapping[str, str]
    ) -> None:
        given = [
            ("organization_id", organization_id.encode()),
            *((n, v.encode()) for n, v in headers.items()),
        ]
        self.send(
            [
                Record(topic, b"", row if isinstance(row, bytes) else orjson.dumps(row), given, number % 4)
                for number, row in enumerate(rows)
            ]
        )

    def send(self, records: Sequence[Record]) -> None:
        """Publish records and wait for the acknowledgement of all."""
        group = self._publisher.group()
        for record in records:
            group.add_waiting(record, 60.0)
        group.wait(60.0)

    def close(self) -> None:
        """End the connection."""
        self._publisher.close()


def _base(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "number": 1,
        "version": 1,
        "changed_at": "2026-01-01T00:00:00.000Z",
        "archived": False,
    }
