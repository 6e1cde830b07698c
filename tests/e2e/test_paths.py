"""Whole paths through an installation: files, reads, registry, views, the commands."""

import csv
import io
import os
import signal
import stat
import subprocess
import sys
import time
from typing import Any

from sunledger.embedded.files import read_json
from sunledger.embedded.supervisor import status
from tests.e2e.installation import Installation
from tests.support.workers import payment, wait_until


def _file(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def test_a_file_is_accounted_for_and_moved(installation: Installation) -> None:
    """A run's receipt adds up, the file ends under Processed, its names and phones nowhere in ClickHouse."""
    project = installation.project()
    dataset = installation.dataset(project, "e2e-file")
    rows = [payment(number) for number in range(500)] + [payment(900, PAYMENT_AMOUNT="x"), payment(3)]
    installation.files.put_object(Bucket="e2e-file", Key="ELECTRICITY_PAYMENT.csv", Body=_file(rows))
    installation.api.post(f"/v1/datasets/{dataset}/run")
    count = f"SELECT count() FROM ledger WHERE dataset_id = '{dataset}'"
    wait_until(lambda: installation.value(count) == 502, 60, "the ledger's rows")
    outcomes = dict(
        installation.store.query(
            f"SELECT outcome, count() FROM ledger WHERE dataset_id = '{dataset}' GROUP BY outcome"
        ).result_rows
    )
    assert outcomes == {"accepted": 500, "duplicate": 1, "quarantined": 1}

    def keys() -> list[str]:
        found = installation.files.list_objects_v2(Bucket="e2e-file")
        return [item["Key"] for item in found.get("Contents", [])]

    wait_until(lambda: "ELECTRICITY_PAYMENT.csv" not in keys(), 30, "the move")
    assert [key.split("/")[0] for key in keys()] == ["Processed"]
    shown = installation.store.query(f"SELECT * FROM payments WHERE dataset_id = '{dataset}'").result_rows
    assert len(shown) == 500
    assert "Secret Name" not in str(shown)
    assert "+23480" not in str(shown)


def test_a_failing_dataset_is_paused_and_goes_on(installation: Installation) -> None:
    """The brake stops it in the middle of a file of bad rows, and says why; a mended file goes in."""
    project = installation.project()
    dataset = installation.dataset(project, "e2e-brake")
    path = f"/v1/datasets/{dataset}"

    def drop(rows: list[dict[str, Any]]) -> None:
        installation.files.put_object(Bucket="e2e-brake", Key="ELECTRICITY_PAYMENT.csv", Body=_file(rows))

    bad = 60_000
    drop([payment(number, PAYMENT_AMOUNT="1,234,56") for number in range(bad)])
    run = installation.api.post(f"{path}/run")["id"]
    wait_until(lambda: installation.api.get(path)["state"] == "paused", 120, "the pause")
    assert "rows refused" in installation.api.get(path)["state_detail"]
    ended = wait_until(
        lambda: (
            found
            if (found := installation.api.get(f"/v1/runs/{run}"))["state"] in ("failed", "done")
            else None
        ),
        60,
        "the run's end",
    )
    assert ended["state"] == "failed"
    count = f"SELECT count() FROM ledger WHERE dataset_id = '{dataset}'"

    # A poller that lost its lease in the middle has recorded nothing: then what is judged counts as received.
    def judged() -> bool:
        return 0 < installation.api.get(f"/v1/runs/{run}")["received"] == installation.value(count)

    wait_until(judged, 120, "the judgement of what was sent")
    assert installation.value(count) < bad
    drop([payment(number) for number in range(20)])
    assert installation.api.patch(path, state="active")["state_detail"] == ""
    run = installation.api.post(f"{path}/run")["id"]
    ended = wait_until(
        lambda: found if (found := installation.api.get(f"/v1/runs/{run}"))["state"] == "done" else None,
        60,
        "done",
    )
    assert (ended["received"] - ended["quarantined"], ended["accepted"]) == (20, 20)


def test_a_connection_registered_later_counts_within_ten_seconds(installation: Installation) -> None:
    """Payments first, connection afterwards: verified without anything ingested again."""
    project = installation.project()
    dataset = installation.dataset(project, "e2e-late")
    body = _file([payment(number, METER_ID="LATE-1") for number in range(5)])
    installation.files.put_object(Bucket="e2e-late", Key="ELECTRICITY_PAYMENT.csv", Body=body)
    installation.api.post(f"/v1/datasets/{dataset}/run")
    count = f"SELECT count() FROM ledger WHERE dataset_id = '{dataset}'"
    wait_until(lambda: installation.value(count) == 5, 60, "the ledger's rows")
    began = time.monotonic()
    connection = installation.api.post("/v1/connections", project_id=project["id"], external_id="LATE-1")
    path = f"/v1/connections/{connection['id']}/verification"

    def verified() -> dict[str, Any] | None:
        found = installation.api.get(path)
        return found if found.get("verified") else None

    found = wait_until(verified, 60, "the verification")
    assert time.monotonic() - began < 10
    assert found["payments"] == 5
    assert installation.value(count) == 5


def test_endpoints_are_for_their_owner_only(installation: Installation) -> None:
    """endpoints.json holds passwords: mode 0600, and the names that clients rely on."""
    path = installation.folder / "endpoints.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = read_json(path) or {}
    assert {"api", "kafka", "clickhouse", "redis", "s3", "admin"} <= found.keys()
    assert found["s3"].keys() == {"url", "access_key", "secret_key"}
    assert found["admin"].keys() == {"email", "password"}


def test_query_prints_a_table_and_names_its_errors(installation: Installation) -> None:
    """`sunledger query` answers with a table, or with the store's error and code 1."""

    def query(sql: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "sunledger", "query", "--data", str(installation.folder), sql]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert "42" in query("SELECT 42 AS answer").stdout
    wrong = query("SELECT nothing FROM nowhere")
    assert wrong.returncode == 1
    assert "nowhere" in wrong.stderr
    assert "FORMAT" not in wrong.stderr
    assert query("SELECT 42 AS answer FORMAT CSV").stdout == "42\n"
    none = query("SELECT 42 AS answer WHERE 0")
    assert (none.stdout, none.stderr, none.returncode) == ("", "0 rows\n", 0)
    none = query("SELECT 42 AS answer WHERE 0 FORMAT JSONEachRow")
    assert (none.stdout, none.stderr, none.returncode) == ("", "", 0)


def test_a_dead_part_is_restarted(installation: Installation) -> None:
    """kill -9 of the worker: the supervisor says so and starts it again."""
    before = next(part for part in status(installation.folder) if part.name == "worker")
    os.kill(before.pid or 0, signal.SIGKILL)

    def again() -> bool:
        now = next(part for part in status(installation.folder) if part.name == "worker")
        return now.state == "ready" and now.pid != before.pid and now.restarts == before.restarts + 1

    wait_until(again, 90, "the worker's restart")
