"""The books of a run: what was sent and acknowledged, against broker, ledger, receipts and tables.

Plain SQL and HTTP; nothing of `streams` or `sinks`. Lost = 0, double = 0, every outcome right.
"""

import random
from collections import Counter

from tests.faults.feed import Feed
from tests.faults.harness import contents, refusals
from tests.faults.harness.devices import Devices
from tests.faults.harness.files import Files
from tests.faults.harness.plant import Plant

OUTCOMES = ("accepted", "duplicate", "conflict", "quarantined")


def check(
    plant: Plant, feed: Feed, feed_organization: str, devices: Devices, files: Files, dice: random.Random
) -> dict[str, int]:
    """Everything balances; returns how many rows were received by channel.

    Raises:
        AssertionError: something was lost, doubled or judged wrongly.
    """
    for topic in ("payments", "reads"):
        plant.books.check(topic)
    _check_feed(plant, feed, feed_organization)
    contents.check_feed(plant, feed, feed_organization)
    refusals.check_feed(plant, feed, feed_organization, dice)
    _check_devices(plant, devices)
    refusals.check_devices(plant, devices, dice)
    _check_files(plant, files)
    refusals.check_files(plant, files, dice)
    contents.check_files(plant, files, dice)
    _check_secrets(plant)
    return {"topic": feed.sent, "device": sum(r.reads for r in devices.receipts), "file": sum(files.dropped)}


def _outcomes(plant: Plant, organization_id: str) -> Counter[str]:
    """Outcomes of an organisation's rows; a line that was published twice is one row, its first record."""
    rows = plant.books.rows(
        "SELECT outcome, count() FROM (SELECT argMin(outcome, position) AS outcome FROM ledger"
        f" WHERE organization_id = '{organization_id}' GROUP BY source_ref, topic, line) GROUP BY outcome"
    )
    return Counter({name: int(count) for name, count in rows})


def _check_feed(plant: Plant, feed: Feed, organization_id: str) -> None:
    for kind, topic in (("payment", "payments"), ("read", "reads")):
        lines = plant.books.rows(
            f"SELECT line, count() FROM ledger WHERE organization_id = '{organization_id}'"
            f" AND record_type = '{kind}' GROUP BY line"
        )
        assert {int(line) for line, _ in lines} == {line + 1 for line in feed.lines[kind]}, topic
        assert all(int(count) == 1 for _, count in lines), f"{topic}: a row with two outcomes"
    found = Counter(
        {
            name: int(count)
            for name, count in plant.books.rows(
                f"SELECT outcome, count() FROM ledger WHERE organization_id = '{organization_id}'"
                " GROUP BY outcome"
            )
        }
    )
    assert found == feed.expected(), (found, feed.expected())
    stored = plant.books.rows(
        f"SELECT id, count() FROM payments WHERE organization_id = '{organization_id}' GROUP BY id"
    )
    assert {name for name, _ in stored} == {f"P{number}" for number in feed.contents["payment"]}
    assert all(int(count) == 1 for _, count in stored), "a payment counts twice"
    reads = plant.books.value(f"SELECT count() FROM reads WHERE organization_id = '{organization_id}'")
    assert int(reads) == len(feed.contents["read"])


def _check_devices(plant: Plant, devices: Devices) -> None:
    stored = {
        (device, int(end)): float(value)
        for device, end, value in plant.books.rows(
            "SELECT device_external_id, toUnixTimestamp(end), toFloat64(raw_value) FROM reads"
            f" WHERE organization_id = '{devices.organization_id}'"
        )
    }
    count = plant.books.value(
        f"SELECT count() FROM reads WHERE organization_id = '{devices.organization_id}'"
    )
    assert stored == devices.accepted, "acknowledged reads and stored ones differ"
    assert int(count) == len(stored), "a read counts twice"
    judged = {
        ref: {outcome: int(count) for outcome, count in found.items()}
        for ref, found in plant.books.rows(
            "SELECT source_ref, sumMap(map(outcome, 1)) FROM ("
            "SELECT source_ref, toString(argMin(outcome, position)) AS outcome FROM ledger"
            f" WHERE organization_id = '{devices.organization_id}' GROUP BY source_ref, line)"
            " GROUP BY source_ref"
        )
    }
    told = {
        item["source_ref"]: item
        for item in plant.pages(f"/v1/receipts?organization_id={devices.organization_id}&limit=200")
    }
    for receipt in devices.receipts:
        assert receipt.id in told, f"{receipt} is not listed"
        found = told[receipt.id]
        assert (found["received"], found["quarantined"]) == (receipt.reads, receipt.rejected), (
            receipt,
            found,
        )
        assert found["adds_up"] == "complete", found
        by_outcome = {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}
        assert by_outcome == judged[receipt.id], (found, judged[receipt.id])


def _check_files(plant: Plant, files: Files) -> None:
    found = _outcomes(plant, files.organization_id)
    assert found == files.model.outcomes, (found, files.model.outcomes)
    received: list[int] = []
    totals = Counter[str]()
    for run in plant.pages(f"/v1/runs?dataset_id={files.dataset_id}&limit=100"):
        told = plant.api.get(f"/v1/runs/{run['id']}")
        if not told["files"]:
            continue
        assert told["state"] in ("done", "failed"), told
        assert told["received"] == sum(told[outcome] for outcome in OUTCOMES), told
        received += [file["received"] for file in told["files"]]
        totals.update({outcome: told[outcome] for outcome in OUTCOMES})
    assert sorted(received) == sorted(files.dropped), "files and their receipts"
    assert +totals == files.model.outcomes, (totals, files.model.outcomes)


def _check_secrets(plant: Plant) -> None:
    for path in (plant.folder / "logs").iterdir():
        text = path.read_text(errors="replace")
        for secret in ("Secret Name", "+23480"):
            assert secret not in text, f"{path.name} holds personal data"
