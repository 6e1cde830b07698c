"""A file over HTTP, through the topic and a worker, into the ledger: killed in the middle, it adds up."""

import csv
import io
import json
import os
import signal
import urllib.request
from typing import Any

from sunledger.embedded.supervisor import status
from sunledger.why import ask, story
from tests.e2e.installation import Installation
from tests.support.workers import payment, wait_until

ROWS = 30_000
"""More than may be unjudged at first, so that the file is held back while it is killed."""
BOUNDARY = "sunledger-e2e"


def _file() -> bytes:
    """Good rows; one again, one with another amount, a bad one, and one that no reader can take apart."""
    rows = [payment(number) for number in range(ROWS)]
    more = [payment(7), payment(8, PAYMENT_AMOUNT="1"), payment(90_001, PAYMENT_AMOUNT="=1+1", METER_ID="")]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows + more)
    return text.getvalue().encode() + b"too,few,cells of Secret Name\n"


def _send(installation: Installation, fields: dict[str, str], data: bytes) -> dict[str, Any]:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="ELECTRICITY_PAYMENT.csv"'
    parts += [f"{head}\r\n\r\n".encode(), data, f"\r\n--{BOUNDARY}--\r\n".encode()]
    with _open(installation, "/v1/uploads", b"".join(parts)) as answer:
        assert answer.status == 202
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _open(installation: Installation, path: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(installation.endpoints.api + path, body)
    request.add_header("Authorization", f"Bearer {installation.api.token}")
    request.add_header("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60)


def test_an_upload_survives_kill_9_and_adds_up(installation: Installation) -> None:
    """The API dies while it publishes: the file goes on from its spool, and each row has one outcome."""
    project = installation.project()
    fields = {
        "dataset_name": "01_2026_Upload",
        "project_ids": project["id"],
        "dataset_type": "electricity_payments",
        "data_provider": "User",
    }
    made = _send(installation, fields, _file())
    path = f"/v1/uploads/{made['id']}"
    spooled = installation.folder / "uploads" / made["id"]
    assert b"Secret Name" not in spooled.read_bytes()
    wait_until(lambda: installation.api.get(path)["state"] == "publishing", 60, "the first rows")
    before = next(part for part in status(installation.folder) if part.name == "api")
    os.kill(before.pid or 0, signal.SIGKILL)
    assert spooled.exists()

    def again() -> bool:
        now = next(part for part in status(installation.folder) if part.name == "api")
        return now.state == "ready" and now.pid != before.pid

    wait_until(again, 90, "the API's restart")
    ended = wait_until(
        lambda: found if (found := installation.api.get(path))["state"] == "done" else None, 150, "the end"
    )
    counts = {name: ended[name] for name in ("received", "accepted", "duplicate", "conflict", "quarantined")}
    assert counts == {
        "received": ROWS + 4, "accepted": ROWS, "duplicate": 1, "conflict": 1, "quarantined": 2
    }  # fmt: skip
    assert (ended["rows_read"], ended["bytes_read"]) == (ROWS + 4, ended["bytes_total"])
    assert not spooled.exists()
    with _open(installation, f"{path}/errors.csv") as answer:
        report = list(csv.DictReader(io.StringIO(answer.read().decode())))
    assert [(row["line"], row["reason"], row["field"]) for row in report] == [
        (str(ROWS + 4), "bad_decimal", "PAYMENT_AMOUNT"),
        (str(ROWS + 4), "missing", "METER_ID"),
        (str(ROWS + 5), "unreadable_row", ""),
    ]
    assert (report[0]["PAYMENT_AMOUNT"], report[0]["CUSTOMER_NAME"]) == ("'=1+1", "Secret Name 90001")
    assert report[2]["raw"] == "too,few,cells of Secret Name\n"
    assert report[2]["detail"] == f"3 cells, the header has {len(payment(1))}"
    what = f"{ended['source_ref']}:{ROWS + 5}"
    told = story(what, ask(installation.api, what))
    assert report[2]["detail"] in told
    assert "Secret Name" not in told
