"""The slice of the fault harness that every test run has: one seed, every strike once."""

import os
from pathlib import Path

import pytest

from tests.faults.harness.run import run

SEED = int(os.environ.get("SUNLEDGER_TEST_SEED", "20260516"))


@pytest.mark.timeout(1200)
def test_the_books_balance_after_every_strike(tmp_path: Path) -> None:
    """Nothing lost, nothing twice, every outcome right; `make faults` runs other seeds."""
    report = run(SEED, tmp_path)
    print(f"seed {report.seed}: {report.received} rows in {report.seconds:.0f} s, {report.strikes}")
    assert min(report.received.values()) > 0
