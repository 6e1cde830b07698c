"""What a file is checked to become, here and beside the ledger, is what an installation makes of it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.installation import Installation
from tests.support.workers import payment, wait_until


def _check(path: Path, *options: str, **env: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of `sunledger check --json`, as a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "sunledger", "check", str(path), "--json", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **env},
    )
    assert ended.stdout, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, found


def test_check_foretells_what_a_run_makes_of_the_file(installation: Installation, tmp_path: Path) -> None:
    """Here, over the bucket, and then in truth: the same counts; afterwards a server knows every row."""
    project, bucket = installation.project(), "e2e-check"
    dataset = installation.dataset(project, bucket)
    # so that no run by schedule takes the file before it was looked at
    installation.api.patch(f"/v1/datasets/{dataset}", state="paused")
    installation.api.post("/v1/connections", project_id=project["id"], external_id="CHK-1")
    one = payment(8101, METER_ID="CHK-1")
    rows = [
        one, payment(8102), one, {**one, "PAYMENT_AMOUNT": "70"}, {**one, "PAYMENT_AMOUNT": "5000.0"},
        payment(8103, PAYMENT_AMOUNT="1,234"), payment(8104, CUSTOMER_PHONE="2.34E+11"),
        payment(8102, ID="N/A"),
    ]  # fmt: skip
    path = tmp_path / "ELECTRICITY_PAYMENT.csv"
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(one))
        writer.writeheader()
        writer.writerows(rows)

    code, here = _check(path)
    assert (code, here["rows"], here["bad"]) == (1, 8, 3)
    installation.files.put_object(Bucket=bucket, Key=path.name, Body=path.read_bytes())
    wait_until(
        lambda: installation.value("SELECT count() FROM connections WHERE external_id = 'CHK-1'"), 60,
        "the connection",
    )  # fmt: skip
    [there] = installation.api.post(f"/v1/datasets/{dataset}/dry-run")["checks"]
    assert there["outcomes"] == there["ledger"]["outcomes"] == here["outcomes"]
    assert there["ledger"]["match"]["matched"] == 4

    installation.api.patch(f"/v1/datasets/{dataset}", state="active")
    installation.api.post(f"/v1/datasets/{dataset}/run")
    stored = f"FROM ledger WHERE dataset_id = '{dataset}'"
    wait_until(lambda: installation.value(f"SELECT count() {stored}") == len(rows), 180, "the ledger's rows")
    counted = installation.store.query(f"SELECT outcome, count() {stored} GROUP BY outcome").result_rows
    assert dict(counted) == here["outcomes"]

    admin = installation.endpoints.admin
    login = {"SUNLEDGER_ADMIN_EMAIL": admin["email"], "SUNLEDGER_ADMIN_PASSWORD": admin["password"]}
    server = (
        "--server",
        installation.endpoints.api,
        "--dataset",
        "01_2026_Check",
        "--project",
        project["id"],
    )
    code, again = _check(path, *server, **login)
    assert (code, again["profile"], again["outcomes"]) == (1, "upload", here["outcomes"])
    assert again["ledger"]["outcomes"] == {"accepted": 0, "duplicate": 5, "conflict": 0, "quarantined": 3}
    count = f"SELECT count() FROM ledger WHERE organization_id = '{project['organization_id']}'"
    assert installation.value(count) == len(rows)
