"""A conflict through an installation: told by `sunledger why`, decided over the API, seen in the totals."""

import csv
import io
import json
import os
import subprocess
import sys
from typing import Any

from tests.e2e.installation import Installation
from tests.support.workers import payment, wait_until


def _drop(installation: Installation, dataset: str, bucket: str, rows: list[dict[str, Any]]) -> None:
    """Put a file into the bucket and wait until each of its rows has an outcome."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    count = f"SELECT count() FROM ledger WHERE dataset_id = '{dataset}'"
    before = installation.value(count)
    installation.files.put_object(Bucket=bucket, Key="ELECTRICITY_PAYMENT.csv", Body=text.getvalue().encode())
    installation.api.post(f"/v1/datasets/{dataset}/run")
    wait_until(lambda: installation.value(count) == before + len(rows), 60, "the ledger's rows")


def _why(installation: Installation, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    where = () if env else ("--data", str(installation.folder))
    return subprocess.run(
        [sys.executable, "-m", "sunledger", "why", *arguments, *where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
    )


def test_why_and_a_decision_end_to_end(installation: Installation) -> None:
    """One ID with two amounts: the story names what differs, decisions move the totals, an undo back."""
    project, bucket = installation.project(), "e2e-conflict"
    dataset = installation.dataset(project, bucket)
    connection = installation.api.post("/v1/connections", project_id=project["id"], external_id="CON-1")
    one = payment(7001, METER_ID="CON-1")
    _drop(installation, dataset, bucket, [one, {**one, "PAYMENT_AMOUNT": "70"}, payment(7002), one])

    def paid() -> Any:
        found = installation.api.get(f"/v1/connections/{connection['id']}/verification")
        return found["payments"], found["totals"].get("NGN")

    wait_until(lambda: paid() == (1, "5000"), 60, "the first version to count")
    [case] = installation.api.get(f"/v1/conflicts?dataset_id={dataset}")["items"]
    assert (case["record_id"], case["open"], case["differing_fields"]) == ("P7001", True, ["PAYMENT_AMOUNT"])

    told = _why(installation, "P7001")
    assert told.returncode == 0, told.stderr
    for text in (
        "payment P7001: accepted", "payment P7001: conflict", "payment P7001: duplicate",
        "PAYMENT_AMOUNT: 5000 → 70", f"connection {connection['id']}", "somebody has to decide",
        "line 2", "came first",
    ):  # fmt: skip
        assert text in told.stdout, told.stdout
    assert "Secret Name" not in told.stdout
    assert "+23480" not in told.stdout

    path = f"/v1/conflicts/payment/{case['identity']}/decisions"
    seen = [version["content_hash"] for version in case["versions"]]
    installation.api.post(path, decision="count_both", known=seen)
    wait_until(lambda: paid() == (2, "5070"), 60, "both to count")
    installation.api.post(path, decision="undo")
    wait_until(lambda: paid() == (1, "5000"), 60, "the first alone to count again")
    installation.api.post(path, decision="take_new", known=seen)
    wait_until(lambda: paid() == (1, "70"), 60, "the new one to count")

    _drop(installation, dataset, bucket, [{**one, "PAYMENT_AMOUNT": "90"}, {**one, "PAYMENT_AMOUNT": "70"}])
    [case] = installation.api.get(f"/v1/conflicts?dataset_id={dataset}&open=true")["items"]
    assert [version["counting"] for version in case["versions"]] == [False, True, False]
    assert paid() == (1, "70")


def test_why_finds_a_line_of_a_file_and_says_what_it_does_not_know(installation: Installation) -> None:
    """By file and line, as JSON, from another server; code 1 for what nobody received."""
    bucket = "e2e-why"
    dataset = installation.dataset(installation.project(), bucket)
    bad = payment(97102, PAYMENT_AMOUNT="1,234")
    _drop(installation, dataset, bucket, [payment(97101), bad])
    told = _why(installation, f"s3://{bucket}/ELECTRICITY_PAYMENT.csv:3")
    assert told.returncode == 0, told.stderr
    assert "payment P97102: quarantined" in told.stdout
    assert "fields_valid   failed" in told.stdout
    assert "bad_decimal:PAYMENT_AMOUNT: not a decimal number" in told.stdout
    found = json.loads(_why(installation, "P97101", "--json").stdout)
    assert [item["line"] for item in found["items"]] == [2]
    assert found["items"][0]["explanation"]["stored"]["id"] == "P97101"
    unknown = _why(installation, "never-sent")
    assert (unknown.returncode, "nothing is known of never-sent" in unknown.stdout) == (1, True)
    admin = installation.endpoints.admin
    login = {"SUNLEDGER_ADMIN_EMAIL": admin["email"], "SUNLEDGER_ADMIN_PASSWORD": admin["password"]}
    server = ("--server", installation.endpoints.api)
    assert "payment P97101: accepted" in _why(installation, "P97101", *server, **login).stdout
    wrong = _why(installation, "P97101", *server, **{**login, "SUNLEDGER_ADMIN_PASSWORD": "wrong"})
    assert wrong.returncode == 1
    assert "401" in wrong.stderr
