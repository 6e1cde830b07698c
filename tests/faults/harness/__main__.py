"""`make faults SEEDS=50 FIRST_SEED=1`: one run after the other; a failing seed is named and replays."""

import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.faults.harness.run import run


def main() -> int:
    """Run the seeds; 0 when the books of all of them balance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many runs")
    parser.add_argument("--first", type=int, default=1, help="seed of the first run")
    parser.add_argument("--strikes", type=int, default=None, help="strikes of each run; default: every one")
    parser.add_argument("--rate", type=int, default=2000, help="records a second on the topics")
    given = parser.parse_args()
    failed = []
    for seed in range(given.first, given.first + given.seeds):
        folder = Path(tempfile.mkdtemp(prefix=f"sunledger-faults-{seed}-"))
        print(f"seed {seed}", flush=True)
        try:
            report = run(seed, folder, given.strikes, given.rate)
        except Exception:  # noqa: BLE001 - whatever it is: the seed is named, and the next one runs
            traceback.print_exc()
            failed.append(seed)
            print(f"seed {seed} FAILED; logs in {folder}", flush=True)
            print(f"again: make faults SEEDS=1 FIRST_SEED={seed}", flush=True)
        else:
            shutil.rmtree(folder)
            print(f"seed {seed} balances: {report.received} rows in {report.seconds:.0f} s", flush=True)
    if failed:
        print(f"failed seeds: {failed}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
