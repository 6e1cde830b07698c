"""Runs the sample through an installation: registry, files, reads, then asks the store."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from clickhouse_connect.driver.client import Client

from sinks import client as clickhouse
from sunledger.demo import sample
from sunledger.demo.client import ApiClient
from sunledger.embedded import s3
from sunledger.embedded.stack import Endpoints

BUCKET = "demo-payments"
FILE = "ELECTRICITY_PAYMENT.csv"
OUTCOMES = ("accepted", "duplicate", "conflict", "quarantined")
LIMIT_S = 120.0


class DemoStuck(Exception):
    """A step of the demo did not come true in time; the message says which."""


@dataclass
class Result:
    """What the demo prints. Counts by outcome; `received` is their sum."""

    payments: dict[str, int] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    verified_connections: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `sunledger demo --once --json`."""
        return asdict(self)


class Demo:
    """One run of the sample.

    Args:
        say: told each step, for people.
    """

    def __init__(self, endpoints: Endpoints, say: Callable[[str], None]) -> None:
        self._endpoints = endpoints
        self._say = say
        self._api = ApiClient(endpoints.api)
        self._store: Client = clickhouse.connect(endpoints.clickhouse, database="sunledger")

    def run(self) -> Result:
        """Register, load, wait until every row has its outcome, register the rest, ask.

        Raises:
            DemoStuck: a step took too long.
            ApiRefused: the API refused a step.
        """
        began = time.monotonic()
        self._api.login(**self._endpoints.admin)
        project, dataset = self._register()
        self._say("dropping two payment files into the bucket, the second with re-sends and changes")
        for text in (sample.first_file(), sample.second_file()):
            self._file(dataset, text)
        self._wait("every payment's outcome", lambda: self._count("payment") == sample.PAYMENT_ROWS)
        self._say("sending a day of reads from every device, with its own token")
        self._send_reads(project)
        self._wait("every read's outcome", lambda: self._count("read") == sample.READ_ROWS)
        self._say("registering the connections whose payments came first")
        for number in sample.LATE_CONNECTIONS:
            self._connection(project, number)
        everybody = "SELECT count() FROM verification"
        self._wait("the late connections", lambda: self._value(everybody) == sample.CONNECTIONS + 1)
        result = Result(
            self._outcomes("payment"),
            self._outcomes("read"),
            int(self._value(everybody)),
            int(self._value("SELECT countIf(verified) FROM verification")),
        )
        result.seconds = round(time.monotonic() - began, 1)
        return result

    def _register(self) -> tuple[dict[str, Any], str]:
        self._say("registering an organisation, a project, connections, devices and a dataset")
        organization = self._api.post("/v1/organizations", name="Sunrise Mini-Grids Ltd")
        project = self._api.post(
            "/v1/projects", organization_id=organization["id"], name="01_2026_Site Ilaro", country="NG"
        )
        for number in (*range(sample.CONNECTIONS), sample.SILENT_CONNECTION):
            if number not in sample.LATE_CONNECTIONS:
                self._connection(project, number)
        s3.client(**asdict(self._endpoints.s3)).create_bucket(Bucket=BUCKET)
        store = self._endpoints.s3
        dataset = self._api.post(
            "/v1/datasets",
            name="01_2026_Site Ilaro",
            provider="ODYSSEY",
            source="s3",
            type="electricity_payments",
            organization_id=organization["id"],
            target="project",
            project_ids=[project["id"]],
            s3={
                "bucket": BUCKET,
                "endpoint_url": store.url,
                "access_key": store.access_key,
                "secret_key": store.secret_key,
            },
        )
        return project, dataset["id"]

    def _connection(self, project: dict[str, Any], number: int) -> None:
        self._api.post(
            "/v1/connections",
            project_id=project["id"],
            external_id=sample.meter(number),
            customer_external_id=str(9000 + number),
        )

    def _file(self, dataset: str, text: str) -> None:
        """Drop a file, run the dataset, and wait until the file has been moved out of the way."""
        store = s3.client(**asdict(self._endpoints.s3))
        store.put_object(Bucket=BUCKET, Key=FILE, Body=text.encode())
        self._api.post(f"/v1/datasets/{dataset}/run")

        def moved() -> bool:
            found = store.list_objects_v2(Bucket=BUCKET, Prefix=FILE)
            return bool(found["KeyCount"] == 0)

        self._wait("the move of the file to Processed", moved)

    def _send_reads(self, project: dict[str, Any]) -> None:
        devices = [self._device(project, number) for number in range(sample.DEVICES)]
        self._wait("the devices", lambda: self._value("SELECT count() FROM devices") == sample.DEVICES)
        for number, device in enumerate(devices):
            token = self._api.post(f"/v1/devices/{device['id']}/tokens")["token"]
            path = f"/meter-reads/{device['external_id']}"
            self._api.post(path, bearer=token, type="Delta", unit="Wh", reads=sample.reads(number))

    def _device(self, project: dict[str, Any], number: int) -> dict[str, Any]:
        return self._api.post(
            "/v1/devices",
            project_id=project["id"],
            external_id=sample.device(number),
            manufacturer="HOP",
            serial_number=f"A12{number}",
            capacity_kw=5,
        )

    def _outcomes(self, record_type: str) -> dict[str, int]:
        rows = self._store.query(
            "SELECT outcome, count() FROM (SELECT argMax(outcome, position) AS outcome FROM ledger"
            " WHERE record_type = {kind:String} GROUP BY source_ref, line) GROUP BY outcome",
            parameters={"kind": record_type},
        ).result_rows
        found = {outcome: int(count) for outcome, count in rows}
        counts = {outcome: found.get(outcome, 0) for outcome in OUTCOMES}
        return {"received": sum(counts.values()), **counts}

    def _count(self, record_type: str) -> int:
        return self._outcomes(record_type)["received"]

    def _value(self, sql: str) -> Any:
        return self._store.query(sql).result_rows[0][0]

    def _wait(self, what: str, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise DemoStuck(f"{what} did not come within {LIMIT_S:.0f} s")
            time.sleep(0.1)
        return found
