"""An integrator who drops a file a day: a model says what must become of each of its rows."""

import csv
import io
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from sunledger.demo.client import ApiRefused
from tests.faults.harness.model import Model
from tests.faults.harness.plant import Plant
from tests.faults.sending import Sending
from tests.support.workers import payment, wait_until

BUCKET = "field-payments"
NAME = "ELECTRICITY_PAYMENT.csv"
HEADER = [*payment(0), "STATUS"]
STATUSES = ("paid", "settled", "pending")
"""Payments with the last one are stored, and not counted."""
METERS, CONNECTED = 12, 8
"""Meters that pay, and how many of them belong to a connection."""
FIRST_PAYMENT = datetime(2024, 2, 29, tzinfo=UTC)
DONE_S = 240.0
Row = dict[str, str]


class Files:
    """Drops one file after the other; the next only when the one before has been moved away."""

    def __init__(self, plant: Plant, seed: int, rows: int = 400) -> None:
        self._plant = plant
        self._random = random.Random(seed)
        self._rows = rows
        self._sending = Sending("files", self._one, lambda: self._random.uniform(0.1, 1.0))
        store = plant.endpoints.s3
        self._s3 = boto3.client(
            "s3",
            endpoint_url=store.url,
            region_name="us-east-1",
            aws_access_key_id=store.access_key,
            aws_secret_access_key=store.secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )
        self.model = Model()
        """What must become of all rows that were dropped: the order of files and lines decides."""
        self.refused = Counter[str]()
        """IDs of the rows that cannot be accepted."""
        self.dropped: list[int] = []
        """Rows of each file."""
        self.organization_id = plant.api.post("/v1/organizations", name="Files Ltd")["id"]
        project = plant.api.post("/v1/projects", organization_id=self.organization_id, name="P", country="NG")
        self._s3.create_bucket(Bucket=BUCKET)
        self.dataset_id = plant.api.post(
            "/v1/datasets", name="01_2026_Field", provider="User", source="s3", type="electricity_payments",
            organization_id=self.organization_id, target="project", project_ids=[project["id"]],
            schedule="daily",
            s3={"bucket": BUCKET, "endpoint_url": plant.s3_url, "access_key": store.access_key,
                "secret_key": store.secret_key},
        )["id"]  # fmt: skip
        for number in range(CONNECTED):
            plant.api.post("/v1/connections", project_id=project["id"], external_id=f"M{number}")

    def start(self) -> None:
        """Begin to drop."""
        self._sending.start()

    def check(self) -> None:
        """Files are dropped. Raises AssertionError when they are not any more."""
        self._sending.check()

    def abandon(self) -> None:
        """No further file is dropped: the run has failed."""
        self._sending.stop()
        self.close()

    def finish(self) -> None:
        """Stop after the file under way, and wait until it is moved.

        Raises:
            AssertionError: it is not moved.
        """
        self._sending.finish(DONE_S + 60)

    def close(self) -> None:
        """End the connections to the bucket."""
        self._s3.close()

    def _one(self) -> None:
        rows = [self._row() for _ in range(self._random.randrange(1, self._rows))]
        self.dropped.append(len(rows))
        self._patiently(partial(self._s3.put_object, Bucket=BUCKET, Key=NAME, Body=_csv(rows)))
        self._patiently(lambda: self._plant.api.post(f"/v1/datasets/{self.dataset_id}/run"))
        wait_until(self._moved, DONE_S, "the move of the file")

    def _row(self) -> Row:
        """A new payment, one sent before (as it was, or changed), or a row that cannot be accepted."""
        dice, known = self._random.random(), len(self.model.payments)
        if dice < 0.03:
            row = {**self._payment(0, 0), "ID": f"X{self._random.randrange(10**6)}"}
            self.refused[row["ID"]] += 1
            self.model.outcomes["quarantined"] += 1
            return {**row, "PAYMENT_AMOUNT": "1 000,50"}
        number = self._random.randrange(known) if dice < 0.3 and known else known
        row = self._payment(number, self._random.randrange(3) if dice < 0.06 else 0)
        if 0.06 < dice < 0.12:
            row["STATUS"] = self._random.choice(STATUSES)
        self.model.receive(row["ID"], Decimal(row["PAYMENT_AMOUNT"]), row["STATUS"], row["METER_ID"])
        return row

    def _payment(self, number: int, variant: int) -> Row:
        moment = FIRST_PAYMENT + timedelta(seconds=number * 7919 % (2 * 365 * 86_400))
        return payment(
            number, PAYMENT_AMOUNT=str(100 + number % 7919 + 10_000 * variant), TIMESTAMP=moment.isoformat(),
            METER_ID=f"M{number % METERS}", STATUS=STATUSES[0],
        )  # fmt: skip

    def _moved(self) -> bool:
        """Whether the file is gone; asks for a run again, because the one before may have failed."""
        try:
            found = self._s3.list_objects_v2(Bucket=BUCKET, Prefix=NAME)
        except (BotoCoreError, ClientError):
            return False
        if found["KeyCount"] and self._random.random() < 0.02:
            self._try_run()
        return not found["KeyCount"]

    def _try_run(self) -> None:
        try:
            self._plant.api.post(f"/v1/datasets/{self.dataset_id}/run")
        except (ApiRefused, OSError):
            return  # the API is being struck; `_moved` asks again

    def _patiently(self, act: Any) -> None:
        """Repeat while the part that is asked is being struck."""
        deadline = time.monotonic() + DONE_S
        while True:
            try:
                act()
            except (BotoCoreError, ClientError, ApiRefused, OSError):
                assert time.monotonic() < deadline
                time.sleep(0.3)
            else:
                return


def _csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
