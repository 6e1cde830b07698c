"""The main job as a newcomer runs it: `sunledger demo --once --json`."""

import json
import subprocess
import sys


def test_the_demo_tells_what_became_of_every_row() -> None:
    """Every kind of trouble in the sample ends with the outcome that the product promises for it."""
    done = subprocess.run(
        [sys.executable, "-m", "sunledger", "demo", "--once", "--json"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("seconds") > 0
    assert found == {
        "payments": {"received": 181, "accepted": 93, "duplicate": 78, "conflict": 2, "quarantined": 8},
        "reads": {"received": 232, "accepted": 192, "duplicate": 16, "conflict": 8, "quarantined": 16},
        "connections": 41,
        "verified_connections": 40,
    }
