"""A file's bad rows through the whole system: refused, opened, corrected, replayed, accounted for."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from sunledger.demo.client import ApiRefused
from tests.e2e.installation import Installation
from tests.support.workers import payment, wait_until

COLUMNS = list(payment(0))


def _file() -> bytes:
    """Three good rows, a bad amount and a bad phone, an unknown currency, a line that is no row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows([payment(number) for number in range(3)])
    writer.writerow(payment(10, PAYMENT_AMOUNT="12 naira", CUSTOMER_PHONE="2.34809E+12"))
    writer.writerow(payment(11, PAYMENT_CURRENCY="shells"))
    text.write("torn,line\r\n")
    return text.getvalue().encode()


def _receipt(installation: Installation, run: str) -> dict[str, int]:
    found = installation.api.get(f"/v1/runs/{run}")
    assert found["received"] == sum(found[name] for name in OUTCOMES)
    return {name: found[name] for name in ("received", *OUTCOMES)}


OUTCOMES = ("accepted", "duplicate", "conflict", "quarantined")


def _refused(installation: Installation, dataset: str, reason: str) -> str:
    """The address of the dataset's one open row with this reason."""
    query = f"/v1/quarantine?dataset_id={dataset}&state=open&reason={quote(reason)}"
    (row,) = installation.api.get(query)["items"]
    return f"/v1/quarantine/{row['topic']}/{row['position']}"


def _judged(installation: Installation, path: str) -> dict[str, Any]:
    """The replay of a row, once it has an outcome."""
    replays = wait_until(lambda: installation.api.get(path)["replays"], 60, "the replay's outcome")
    assert len(replays) == 1
    found: dict[str, Any] = replays[0]
    return found


def test_bad_rows_of_a_file_are_corrected_and_counted_once(installation: Installation) -> None:
    """Each replay is judged by the same worker; the run's receipt adds up at every step; history stays."""
    api = installation.api
    project = installation.project()
    dataset = installation.dataset(project, "e2e-quarantine")
    installation.files.put_object(Bucket="e2e-quarantine", Key="ELECTRICITY_PAYMENT.csv", Body=_file())
    run = api.post(f"/v1/datasets/{dataset}/run")["id"]
    wait_until(lambda: api.get(f"/v1/runs/{run}")["state"] == "done", 60, "the run")
    assert _receipt(installation, run) == {
        "received": 6, "accepted": 3, "duplicate": 0, "conflict": 0, "quarantined": 3,
    }  # fmt: skip

    # two faults: the first correction leaves one of them
    path = _refused(installation, dataset, "bad_decimal:PAYMENT_AMOUNT")
    fields = api.post(f"{path}/original")["fields"]
    assert fields["CUSTOMER_NAME"] == "Secret Name 10"
    api.post(f"{path}/replay", changes={"PAYMENT_AMOUNT": "12"})
    again = _judged(installation, path)
    assert (again["outcome"], again["reasons"]) == ("quarantined", ["bad_phone:CUSTOMER_PHONE"])
    assert _receipt(installation, run)["quarantined"] == 3
    path = _refused(installation, dataset, "bad_phone")

    # the second one is sent by several people at once, under another ID, and counts once
    def replay(_number: int) -> str:
        changes = {"CUSTOMER_PHONE": "+2348099912345", "ID": "P10b"}
        try:
            return str(api.post(f"{path}/replay", changes=changes)["done"])
        except ApiRefused as refused:
            return "refused" if refused.status == 409 else str(refused)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(replay, range(6))) == ["refused"] * 5 + ["replayed"]
    assert _judged(installation, path)["outcome"] == "accepted"
    assert _receipt(installation, run) == {
        "received": 6, "accepted": 4, "duplicate": 0, "conflict": 0, "quarantined": 2,
    }  # fmt: skip

    # a line that was no row becomes one; one is given up
    torn = _refused(installation, dataset, "unreadable_row")
    assert "torn,line" in api.post(f"{torn}/original")["text"]
    api.post(f"{torn}/replay", changes=payment(12))
    assert _judged(installation, torn)["outcome"] == "accepted"
    shells = _refused(installation, dataset, "unknown_currency")
    api.post(f"{shells}/discard", reason="not a currency we know")
    assert _receipt(installation, run) == {
        "received": 6, "accepted": 5, "duplicate": 0, "conflict": 0, "quarantined": 1,
    }  # fmt: skip

    rows = installation.store.query(
        f"SELECT id, toString(payment_amount) FROM payments WHERE dataset_id = '{dataset}' ORDER BY id"
    ).result_rows
    assert [row[0] for row in rows] == ["P0", "P1", "P10b", "P12", "P2"]
    history = f"SELECT count() FROM ledger WHERE dataset_id = '{dataset}' AND outcome = 'quarantined'"
    assert installation.value(history) == 4
    states = installation.store.query(
        f"SELECT state, count() FROM quarantine WHERE dataset_id = '{dataset}' GROUP BY state"
    ).result_rows
    assert dict(states) == {"replayed": 3, "discarded": 1}
    kind = f"organization_id={project['organization_id']}&subject_kind=quarantined_row"
    entries = api.get(f"/v1/audit?{kind}")["items"]
    actions = [entry["action"].removeprefix("quarantine.") for entry in entries]
    assert sorted(actions) == sorted(["original_opened"] * 2 + ["replay"] * 3 + ["discard"])
    for trace in ("Secret Name", "99912345", "+23480"):
        assert trace not in str(entries)
