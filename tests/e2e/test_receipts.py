"""Receipts of files and of a device's requests, through a real poller and worker: they always add up."""

import csv
import hashlib
import io
from typing import Any

import httpx2 as httpx

from tests.e2e.installation import Installation
from tests.support.workers import payment, wait_until

OUTCOMES = ("accepted", "duplicate", "conflict", "quarantined")
KEY = "ELECTRICITY_PAYMENT.csv"


def _file(*rows: dict[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(payment(0)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _checked(receipt: dict[str, Any]) -> dict[str, Any]:
    judged = sum(receipt[name] for name in OUTCOMES)
    assert receipt["received"] == judged + receipt["waiting"] + receipt["lost"], receipt
    return receipt


def _complete(installation: Installation, receipt: str) -> dict[str, Any]:
    """The receipt, once every row has its outcome; it adds up all the time until then."""

    def look() -> dict[str, Any] | None:
        found = _checked(installation.api.get(f"/v1/receipts/{receipt}"))
        return found if found["adds_up"] == "complete" else None

    found: dict[str, Any] = wait_until(look, 60, "the receipt")
    return found


def _run(installation: Installation, dataset: str, bucket: str, body: bytes) -> str:
    """Drop a file, have it read; its receipt."""
    installation.files.put_object(Bucket=bucket, Key=KEY, Body=body)
    run = installation.api.post(f"/v1/datasets/{dataset}/run")["id"]

    def look() -> Any:
        return installation.api.get(f"/v1/runs/{run}")

    wait_until(lambda: look()["state"] == "done", 60, "the run")
    (file,) = look()["files"]
    return str(file["id"])


def _counts(receipt: dict[str, Any]) -> list[int]:
    return [receipt["received"], *[receipt[name] for name in OUTCOMES]]


def test_receipts_of_files_add_up_from_the_bucket_to_the_ledger(installation: Installation) -> None:
    """A good file with a bad row, corrected under another ID; a header only; a wrong header."""
    api, bucket = installation.api, "e2e-receipts"
    project = installation.project()
    dataset = installation.dataset(project, bucket)
    body = _file(payment(900), payment(901), payment(900), payment(901, PAYMENT_AMOUNT="7"),
                 payment(902, PAYMENT_AMOUNT="x"))  # fmt: skip
    receipt = _run(installation, dataset, bucket, body)
    found = _complete(installation, receipt)
    assert _counts(found) == [5, 2, 1, 1, 1]
    assert found["reasons"] == {"bad_decimal:PAYMENT_AMOUNT": 1}
    assert found["content_hash"] == hashlib.sha256(body).hexdigest()
    assert (found["source"], found["state"], found["duration_ms"] >= 0) == ("s3", "published", True)
    ledger = installation.store.query(
        "SELECT partition, min(offset), max(offset) FROM ledger WHERE source_ref = {ref:String}"
        " GROUP BY partition ORDER BY partition",
        parameters={"ref": found["source_ref"]},
    ).result_rows
    places = [(place["partition"], place["first_offset"], place["last_offset"]) for place in found["places"]]
    assert places == [tuple(row) for row in ledger]

    (row,) = api.get(f"/v1/quarantine?dataset_id={dataset}")["items"]
    path = f"/v1/quarantine/{row['topic']}/{row['position']}"
    api.post(f"{path}/replay", changes={"PAYMENT_AMOUNT": "12", "ID": "P902-corrected"})
    wait_until(lambda: _complete(installation, receipt)["quarantined"] == 0, 60, "the replay's outcome")
    found = _complete(installation, receipt)
    assert _counts(found) == [5, 3, 1, 1, 0]
    assert found["first_outcomes"]["quarantined"] == 1
    assert found["reasons"] == {}

    empty = _complete(installation, _run(installation, dataset, bucket, _file()))
    assert (_counts(empty), empty["state"], empty["places"]) == ([0] * 5, "published", [])
    wrong = _complete(installation, _run(installation, dataset, bucket, b"ID,Amount\n1,2\n"))
    assert (_counts(wrong), wrong["state"], wrong["error"]) == ([0] * 5, "refused", "bad_header")
    assert wrong["detail"]

    listed = api.get(f"/v1/receipts?dataset_id={dataset}&limit=2")
    rest = api.get(f"/v1/receipts?dataset_id={dataset}&limit=2&cursor={listed['next']}")
    assert [item["id"] for item in (*listed["items"], *rest["items"])] == [wrong["id"], empty["id"], receipt]
    assert rest["next"] is None
    for trace in ("Secret Name", "+23480"):
        assert trace not in str(listed) + str(rest)


def test_a_devices_request_has_a_receipt(installation: Installation) -> None:
    """It tells how many reads came before the first one is judged, and what became of each after."""
    api = installation.api
    project = installation.project()
    device = api.post(
        "/v1/devices",
        project_id=project["id"],
        external_id="receipt-meter",
        manufacturer="M",
        serial_number="1",
    )
    token = api.post(f"/v1/devices/{device['id']}/tokens")["token"]
    known = f"SELECT count() FROM device_versions WHERE id = '{device['id']}'"
    wait_until(lambda: installation.value(known), 60, "the device's way to the workers")
    reads = [
        {"starttimestamp": f"2026-05-01T0{hour}:00:00Z", "endtimestamp": f"2026-05-01T0{hour + 1}:00:00Z",
         "value": value}
        for hour, value in ((0, 1), (1, 2), (0, 1), (2, -1))
    ]  # fmt: skip
    answer = httpx.post(
        f"{installation.endpoints.api}/meter-reads/receipt-meter",
        json={"type": "Delta", "unit": "kWh", "reads": reads},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 202, answer.text
    receipt = answer.json()["receipt"]
    assert _checked(api.get(f"/v1/receipts/{receipt}"))["received"] == 4
    found = _complete(installation, receipt)
    assert _counts(found) == [4, 2, 1, 0, 1]
    assert (found["source"], found["organization_id"]) == ("device", project["organization_id"])
    (place,) = found["places"]
    assert place["last_offset"] - place["first_offset"] == 3
    query = f"organization_id={project['organization_id']}&channel=device"
    assert [item["id"] for item in api.get(f"/v1/receipts?{query}")["items"]] == [receipt]
    stored = installation.value(
        f"SELECT toString(any(received_at)) FROM ledger WHERE source_ref = '{receipt}'"
    )
    assert stored.replace(" ", "T") + "Z" == found["started_at"]
