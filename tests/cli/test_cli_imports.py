"""What a process loads before it works: it must be back soon after a death."""

import json
import subprocess
import sys

import pytest

HEAVY = ("api", "fastapi", "sqlalchemy", "alembic", "boto3", "google.auth", "chdb", "jgo")


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("sunledger.cli", set()),
        ("sunledger.working", set()),
        ("sunledger.verifying", set()),
        ("sunledger.producing", {"api", "sqlalchemy", "boto3", "google.auth"}),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, needs: set[str]) -> None:
    """A worker that loaded the API took three times as long to start."""
    text = f"import json, sys, {module}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert set(json.loads(found.stdout)) == needs
