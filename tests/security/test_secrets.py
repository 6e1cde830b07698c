"""Secrets and personal data where they must not be: an installation at work, all it says looked through."""

import contextlib
import csv
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sunledger.demo.client import ApiRefused
from sunledger.embedded.files import read_json
from sunledger.embedded.supervisor import status
from tests.e2e.installation import Installation, running
from tests.support.workers import payment, wait_until

NAME, PHONE = "Zaphyra Quillfeather", "+2348099912345"
PERSONAL = {
    "CUSTOMER_NAME": NAME,
    "CUSTOMER_PHONE": PHONE,
    "NOTES": f"call {NAME}",
    "LOCATION": "12 Crimsonvale",
}
TRACES = ("zaphyra", "quillfeather", "8099912345", "crimsonvale")
PASSWORD_TRIED = "canary-password-tried"
KEY_GIVEN = "canary-secret-key-of-a-dataset"
HOSTS_OF_METRICS = ("worker", "producers")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that logs everything it can, after work of every kind, good and bad."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUNLEDGER_LOG_LEVEL", "debug")
        with running(tmp_path_factory.mktemp("secrets")) as installation:
            yield installation


def _file(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _work(installation: Installation) -> list[str]:
    """Logins, files, reads and runs, some refused; returns the tokens that were handed out."""
    api = installation.api
    project = installation.project()
    rows = [payment(n, **PERSONAL) for n in range(20)]
    rows += [payment(90, **PERSONAL, PAYMENT_AMOUNT=NAME), payment(91, **PERSONAL, TIMESTAMP=PHONE)]
    dataset = installation.dataset(project, "secrets-good")
    installation.files.put_object(Bucket="secrets-good", Key="ELECTRICITY_PAYMENT.csv", Body=_file(rows))
    installation.dataset(project, "secrets-headless")
    headless = f"{NAME},{PHONE}\n{NAME},{PHONE}\n".encode()
    installation.files.put_object(Bucket="secrets-headless", Key="ELECTRICITY_PAYMENT.csv", Body=headless)
    closed = installation.dataset(project, "secrets-closed")
    with contextlib.suppress(ApiRefused):
        _send(installation, "PATCH", f"/v1/datasets/{closed}", {"s3": {
            "bucket": "secrets-closed", "endpoint_url": installation.endpoints.s3.url,
            "access_key": "canary-access-key", "secret_key": KEY_GIVEN}})  # fmt: skip
    for one in (dataset, closed):
        api.post(f"/v1/datasets/{one}/run")
    device = api.post("/v1/devices", project_id=project["id"], external_id="meter-1", manufacturer="H",
                      serial_number="S")  # fmt: skip
    token = api.post(f"/v1/devices/{device['id']}/tokens")["token"]
    good = {"starttimestamp": "2024-05-01T00:00:00Z", "endtimestamp": "2024-05-01T01:00:00Z", "value": 1}
    api.post("/meter-reads/meter-1", bearer=token, type="Delta", unit="Wh", reads=[good, {"value": NAME}])
    for call in (
        lambda: api.post(
            "/v1/auth/login", email=installation.endpoints.admin["email"], password=PASSWORD_TRIED
        ),
        lambda: api.post("/v1/auth/login", email=PHONE, password=PASSWORD_TRIED),
        lambda: api.post("/meter-reads/meter-1", bearer=token[:-3] + "AAA", reads=[]),
        lambda: api.post(f"/meter-reads/{NAME.replace(' ', '')}", bearer=token, type=NAME, reads=[good]),
        lambda: api.get(f"/v1/ledger?record_id={PHONE}&line=Zaphyra"),
    ):
        with contextlib.suppress(ApiRefused):
            call()
    wait_until(
        lambda: installation.value(f"SELECT count() FROM ledger WHERE dataset_id = '{dataset}'") == len(rows),
        120,
        "the file's outcomes",
    )
    wait_until(lambda: "'failed'" in str(api.get(f"/v1/runs?dataset_id={closed}")), 120, "the refused run")
    # three when a read overtook its device: refused, then replayed by itself
    wait_until(lambda: len(_reads(installation)) >= 2, 120, lambda: _why_not(installation))
    return [token, str(api.token)]


def _reads(installation: Installation) -> list[tuple[Any, ...]]:
    """What the ledger knows of reads."""
    sql = "SELECT outcome, reasons, partition, offset FROM ledger WHERE record_type = 'read'"
    return list(installation.store.query(sql).result_rows)


def _why_not(installation: Installation) -> str:
    """What helps to see why the reads are not stored."""
    logs = (installation.folder / "logs").rglob("*worker*")
    tails = {path.name: path.read_text(errors="replace")[-6000:] for path in logs if path.is_file()}
    return f"both reads among {_reads(installation)}, parts {status(installation.folder)}, {tails}:"


def _send(installation: Installation, method: str, path: str, body: dict[str, Any]) -> None:
    installation.api._call(method, path, json.dumps(body).encode(), None)


def _get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def _said(installation: Installation) -> dict[str, str]:
    """Everything that the installation says to who asks nothing in particular."""
    folder = installation.folder
    found = {
        path.name: path.read_text(errors="replace") for path in (folder / "logs").rglob("*") if path.is_file()
    }
    found["status.json"] = (folder / "status.json").read_text()
    for path in ("/metrics", "/openapi.json", "/docs", "/readyz", "/healthz", "/.well-known/jwks.json"):
        found[path] = _get(installation.endpoints.api + path)
    for part in status(folder):
        if part.pid:
            command = Path(f"/proc/{part.pid}/cmdline")
            found[f"command line of {part.name}"] = command.read_bytes().decode(errors="replace")
            if part.name in HOSTS_OF_METRICS:
                environment = Path(f"/proc/{part.pid}/environ").read_bytes().decode().split("\0")
                port = next(v for v in environment if v.startswith("SUNLEDGER_OPS_PORT=")).rpartition("=")[2]
                for path in ("/metrics", "/readyz"):
                    found[f"{part.name} {path}"] = _get(f"http://127.0.0.1:{port}{path}")
    topics = installation.store.query("SELECT reasons FROM ledger WHERE notEmpty(reasons)").result_rows
    found["reasons"] = str(topics)
    found["runs"] = json.dumps(installation.api.get("/v1/runs"))
    found["datasets"] = json.dumps(installation.api.get("/v1/datasets"))
    return found


def _secrets(installation: Installation, tokens: list[str]) -> dict[str, str]:
    """What nobody may be told: of the installation, of a dataset, of a device and of a user."""
    credentials = read_json(installation.folder / "credentials.json") or {}
    masters = read_json(installation.folder / "secrets.json") or {}
    kept = {name: str(value) for name, value in {**credentials, **masters}.items()}
    for name in ("clickhouse_user", "admin_email", "s3_access_key"):
        kept.pop(name)  # names, not secrets
    signatures = {f"signature of token {n}": token.rpartition(".")[2] for n, token in enumerate(tokens)}
    return {**kept, **signatures, "password tried": PASSWORD_TRIED, "key of a dataset": KEY_GIVEN}


@pytest.mark.timeout(290)
def test_nothing_says_a_secret_or_a_name(busy: Installation) -> None:
    """Logs at their loudest, metrics, health, OpenAPI, command lines, reasons and runs hold no canary."""
    secrets = _secrets(busy, _work(busy))
    assert len(secrets) >= 9
    said = _said(busy)
    assert {"worker /metrics", "producers /metrics", "/metrics", "/openapi.json"} <= set(said)
    assert any("file_published" in text for text in said.values())
    found = [
        (place, name) for place, text in said.items() for name, secret in secrets.items() if secret in text
    ]
    found += [(place, trace) for place, text in said.items() for trace in TRACES if trace in text.lower()]
    assert found == []
