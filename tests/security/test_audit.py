"""`make audit` never says that all is well when nothing was looked up."""

import runpy
from pathlib import Path
from typing import Any

import pytest

AUDIT = runpy.run_path(str(Path(__file__).resolve().parents[2] / ".ci" / "audit.py"))
GOOD: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found"}
OURS = {"name": "sunledger", "skip_reason": "editable"}


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([GOOD, OURS], 0, "1 packages, no known vulnerability"),
        ([GOOD, BAD], 1, "b 2: CVE-1 (cured in 3)"),
        ([GOOD, SKIPPED], 2, "1 of 2 packages could not be looked up"),
        ([SKIPPED, BAD], 1, "CVE-1"),
        ([OURS], 2, "This is no verdict"),
        ([], 2, "This is no verdict"),
    ],
)
def test_an_audit_that_asked_nobody_is_no_verdict(packages: Any, code: int, told: str) -> None:
    """0 only when every package was looked up; what is vulnerable is named with the version that cures it."""
    found, lines = AUDIT["verdict"]({"dependencies": packages})
    assert found == code
    assert told in "\n".join(lines)
