"""Quarantine: every bad row is there, nothing else is, and its seal opens to what was sent."""

import json
import random
from collections import Counter
from typing import Any

from tests.faults.feed import Feed
from tests.faults.harness.devices import Devices
from tests.faults.harness.files import Files
from tests.faults.harness.plant import Plant

OPENED = 6
"""Seals that are opened of each sender: every opening is in the audit, and takes its time."""


def check_feed(plant: Plant, feed: Feed, organization_id: str, dice: random.Random) -> None:
    """Rows from the topics, by their line numbers."""
    for kind in ("payment", "read"):
        rows = _listed(plant, organization_id, kind)
        by_line = {int(row["line"]): row for row in rows}
        assert len(by_line) == len(rows), f"{kind}: a line is in quarantine twice"
        expected = feed.refused[kind]
        assert by_line.keys() == expected.keys(), f"{kind}: {sorted(by_line.keys() ^ expected.keys())[:5]}"
        for line in _some(sorted(by_line), dice):
            opened = _opened(plant, by_line[line])
            sent = expected[line]
            try:
                fields = json.loads(sent)
            except ValueError:
                assert opened["text"] == sent.decode(errors="replace"), f"{kind} line {line}"
            else:
                assert _texts(opened["fields"]) == _texts(fields), f"{kind} line {line}"


def check_devices(plant: Plant, devices: Devices, dice: random.Random) -> None:
    """Bad reads, by the receipt of their request."""
    rows = _listed(plant, devices.organization_id, "read")
    distinct = {(row["source_ref"], row["line"]) for row in rows}
    found = Counter(source_ref for source_ref, _ in distinct)
    requests = {receipt.id: receipt.rejected for receipt in devices.receipts}
    expected = {name: count for name, count in requests.items() if count}
    # a request that was not answered 202 may have reached the topic all the same
    assert {name: count for name, count in found.items() if name in requests} == expected
    for row in _some(rows, dice):
        assert _texts(_opened(plant, row)["fields"])["value"] == "much", row["position"]


def check_files(plant: Plant, files: Files, dice: random.Random) -> None:
    """Bad lines of files; a line that was published twice is one row."""
    rows = _listed(plant, files.organization_id, "payment")
    distinct = {(row["source_ref"], row["line"]): row["record_id"] for row in rows}
    assert Counter(distinct.values()) == files.refused
    for row in _some(rows, dice):
        fields = _opened(plant, row)["fields"]
        assert (fields["ID"], fields["PAYMENT_AMOUNT"]) == (row["record_id"], "1 000,50"), row["position"]


def _listed(plant: Plant, organization_id: str, kind: str) -> list[dict[str, Any]]:
    return plant.pages(
        f"/v1/quarantine?organization_id={organization_id}&record_type={kind}&state=all&limit=500"
    )


def _opened(plant: Plant, row: dict[str, Any]) -> dict[str, Any]:
    return plant.api.post(f"/v1/quarantine/{row['topic']}/{row['position']}/original")


def _some(items: list[Any], dice: random.Random) -> list[Any]:
    return dice.sample(items, min(OPENED, len(items)))


def _texts(fields: dict[str, Any]) -> dict[str, str]:
    """Numbers and texts alike: what a sender wrote, not in which JSON type."""
    return {name: str(value) for name, value in fields.items() if value is not None}
