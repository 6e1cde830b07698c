"""The walks in the documents, command by command, as they stand there, through one installation."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import Installation
from tests.support.workers import wait_until

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("first-steps.md", "conflicts.md", "quarantine.md")


def blocks(page: str) -> list[str]:
    """What stands in the blocks of a page, in order; blocks that name a language are no commands."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    return [body for language, body in found if not language]


def run(installation: Installation, folder: Path, commands: str) -> str:
    """What commands print; every one of them succeeds."""
    if shutil.which("curl") is None:
        pytest.skip("curl is missing, which the documents use")
    programs = Path(sys.executable).parent
    ended = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{commands}"],
        cwd=folder,
        env={**os.environ, "DATA": str(installation.folder), "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


@pytest.mark.timeout(300)
def test_both_walks_lead_where_they_say(installation: Installation, tmp_path: Path) -> None:
    """Every command succeeds; the payment of the first counts, the case of the second is open again."""
    walks = [body for page in PAGES[:2] for body in blocks(page)]
    told = 'echo; echo "told: $CONNECTION $IDENTITY $ORGANIZATION"'
    printed = run(installation, tmp_path, "\n".join([*walks, told]))
    connection, identity, organization = printed.rpartition("told: ")[2].split()

    def paid() -> Any:
        verified = installation.api.get(f"/v1/connections/{connection}/verification")
        return verified["payments"], verified["totals"]

    wait_until(lambda: paid() == (1, {"NGN": "5000"}), 60, "the payment to count")
    assert "payment UC45678: accepted" in printed
    case = installation.api.get(f"/v1/conflicts/payment/{identity}")
    assert [made["decision"] for made in case["decisions"]] == ["take_new", "undo"]
    assert (case["open"], [version["counting"] for version in case["versions"]]) == (True, [True, False])
    audit = installation.api.get(f"/v1/audit?organization_id={organization}&subject_kind=conflict")["items"]
    assert [entry["action"] for entry in audit] == ["conflict.decide", "conflict.undo"]


@pytest.mark.timeout(300)
def test_the_walk_through_the_quarantine_leaves_nothing_open(
    installation: Installation, tmp_path: Path
) -> None:
    """One row corrected, two replayed, one given up: counts, receipt and audit say so."""
    login = blocks("first-steps.md")[:2]
    told = 'echo; echo "told: $ORGANIZATION $RECEIPT"'
    printed = run(installation, tmp_path, "\n".join([*login, *blocks("quarantine.md"), told]))
    organization, receipt = printed.rpartition("told: ")[2].split()
    counts = "/v1/quarantine/counts?organization_id="
    assert installation.api.get(f"{counts}{organization}")["total"] == 0
    assert installation.api.get(f"{counts}{organization}&state=discarded")["total"] == 1
    found = installation.api.get(f"/v1/receipts/{receipt}")
    names = ("received", "accepted", "quarantined", "adds_up")
    assert [found[name] for name in names] == [4, 3, 1, "complete"]
    assert found["first_outcomes"]["quarantined"] == 4
    kind = f"/v1/audit?organization_id={organization}&subject_kind=quarantined_row"
    acts = [(entry["action"], entry["details"]) for entry in installation.api.get(kind)["items"]]
    assert acts[0] == ("quarantine.original_opened", {})
    assert acts[1] == ("quarantine.replay", {"fields": ["PAYMENT_AMOUNT"], "changed": True})
    assert acts[-1] == ("quarantine.discard", {"reason": "a test of the vendor"})


def test_every_page_with_a_walk_names_this_file() -> None:
    """A reader knows that the commands are run; who changes them knows where."""
    for page in PAGES:
        assert f"tests/e2e/{Path(__file__).name}" in (DOCS / page).read_text(encoding="utf-8")


def test_health_and_metrics_are_where_operations_says(installation: Installation, tmp_path: Path) -> None:
    """Of each process of the installation, by the addresses that `endpoints.json` and `status` have."""
    (commands,) = [body for body in blocks("operations.md") if body.startswith("OPS=")]
    ops = installation.endpoints.ops
    assert set(ops) == {"api", "worker", "producers", "verifier"}
    for name in ops:
        printed = run(installation, tmp_path, commands.replace('"verifier"', f'"{name}"'))
        assert "ready" in printed.splitlines()[0], name
        assert "process_cpu_seconds_total" in printed, name
    shown = run(installation, tmp_path, 'sunledger status --data "$DATA" || true')
    for name, address in ops.items():
        assert re.search(rf"^{name} .*{re.escape(address)}", shown, re.M), shown
