"""An installation of its own for a test: `sunledger up` as a child, and what talks to it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from sinks import client as clickhouse
from sunledger.demo.client import ApiClient
from sunledger.embedded import s3
from sunledger.embedded.files import read_json
from sunledger.embedded.process import Child
from sunledger.embedded.stack import Endpoints, S3Endpoint
from sunledger.embedded.supervisor import status
from tests.support.workers import wait_until


class Installation:
    """A running installation in `folder`."""

    def __init__(self, folder: Path, child: Child) -> None:
        self.folder = folder
        self.child = child
        found = read_json(folder / "endpoints.json") or {}
        self.endpoints = Endpoints(**{**found, "s3": S3Endpoint(**found["s3"])})
        self.api = ApiClient(self.endpoints.api)
        self.api.login(**self.endpoints.admin)
        self.store: Client = clickhouse.connect(self.endpoints.clickhouse, database="sunledger")
        self.files = s3.client(**asdict(self.endpoints.s3))

    def value(self, sql: str) -> Any:
        """The one value of a query."""
        return self.store.query(sql).result_rows[0][0]

    def project(self) -> dict[str, Any]:
        """A new organisation's project."""
        organization = self.api.post("/v1/organizations", name="Solar Ltd")
        return self.api.post("/v1/projects", organization_id=organization["id"], name="P", country="NG")

    def dataset(self, project: dict[str, Any], bucket: str) -> str:
        """A dataset over a new bucket; its id."""
        self.files.create_bucket(Bucket=bucket)
        store = self.endpoints.s3
        return str(
            self.api.post(
                "/v1/datasets",
                name="01_2026_Site",
                provider="ODYSSEY",
                source="s3",
                type="electricity_payments",
                organization_id=project["organization_id"],
                target="project",
                project_ids=[project["id"]],
                s3={
                    "bucket": bucket,
                    "endpoint_url": store.url,
                    "access_key": store.access_key,
                    "secret_key": store.secret_key,
                },
            )["id"]
        )


@contextmanager
def running(folder: Path) -> Iterator[Installation]:
    """Start an installation, wait until everything answers, stop it at the end."""
    argv = [sys.executable, "-m", "sunledger", "up", "--data", str(folder)]
    child = Child.start("up", argv, folder / "logs")

    def ready() -> bool:
        assert child.poll() is None, child.tail(20)
        parts = status(folder)
        return bool(parts) and parts[0].state == "ready"

    try:
        wait_until(ready, 180, "the installation")
        yield Installation(folder, child)
    finally:
        child.stop(60)
