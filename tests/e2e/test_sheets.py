"""A Google Sheet through an installation: registered over the API, read twice, judged, accounted for."""

from datetime import datetime
from typing import Any

from tests.e2e.installation import Installation
from tests.producers.google_double import Book, GoogleDouble, Sheet
from tests.support.workers import payment, wait_until

ID = "1AbCdEfGhIjKlMnOpQrStUvWxYz-e2e"


def _ended(installation: Installation, run: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = installation.api.get(f"/v1/runs/{run}")
        return found if found["state"] in ("done", "failed") else None

    ended: dict[str, Any] = wait_until(look, 60, "the run's end")
    return ended


def test_a_sheet_is_read_again_and_again(installation: Installation, google: GoogleDouble) -> None:
    """All rows accepted, at the second reading all duplicates, and one corrected cell is a new version."""
    rows = [payment(number, METER_ID=f"00{number}") for number in range(300, 320)]
    table: list[list[Any]] = [["Payments of Site Name"], [], [*rows[0]], *([*row.values()] for row in rows)]
    at = {name: place for place, name in enumerate(rows[0])}
    for number, row in enumerate(table[3:]):
        row[at["TIMESTAMP"]] = datetime(2024, 5, 16, 14, 0, number)
        row[at["PAYMENT_AMOUNT"]] = 5000.5
    google.books[ID] = Book([Sheet("May", table)])
    project = installation.project()
    dataset = installation.api.post(
        "/v1/datasets",
        name="01_2026_Site",
        provider="ODYSSEY",
        source="sheet",
        type="electricity_payments",
        organization_id=project["organization_id"],
        target="project",
        project_ids=[project["id"]],
        sheet={"spreadsheet_id": ID, "ranges": ["May!A:Z"]},
    )["id"]
    count = f"SELECT count() FROM ledger WHERE dataset_id = '{dataset}'"
    wait_until(lambda: installation.value(count) == 20, 60, "the first scheduled reading")
    first = _ended(installation, installation.api.post(f"/v1/datasets/{dataset}/run")["id"])
    counts = ("state", "received", "accepted", "duplicate", "conflict", "quarantined")
    assert [first[name] for name in counts] == ["done", 20, 0, 20, 0, 0]
    assert [file["source_ref"] for file in first["files"]] == [f"sheet://{ID}/May!A:Z@{first['id']}"]
    table[5][at["PAYMENT_AMOUNT"]] = 17
    table[6][at["METER_ID"]] = "#REF!"
    google.books[ID] = Book([Sheet("May", table)])
    second = _ended(installation, installation.api.post(f"/v1/datasets/{dataset}/run")["id"])
    assert [second[name] for name in counts] == ["done", 20, 0, 18, 1, 1]
    mine = f"dataset_id = '{dataset}' AND id = '{rows[0]['ID']}'"
    shown = f"SELECT toString(payment_amount), toString(timestamp), meter_id FROM payments WHERE {mine}"
    assert installation.store.query(shown).result_rows == [
        ("5000.5", "2024-05-16 14:00:00.000", "00300"),
    ]
    google.books[ID].readers.clear()
    refused = _ended(installation, installation.api.post(f"/v1/datasets/{dataset}/run")["id"])
    assert refused["state"] == "failed"
    assert "share it with reader@sunledger-test.iam.gserviceaccount.com" in refused["detail"]
