"""`make audit`: known vulnerabilities of what is installed here, and whether that could be asked at all.

pip-audit by itself ends with 0 when its database cannot be reached: every package is then "skipped".
Exit codes: 0 all packages were looked up, none has a known vulnerability; 1 some have, listed; 2 some could
not be looked up, so nothing is said.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

OURS = "sunledger"
NONE_FOUND, FOUND, UNKNOWN = 0, 1, 2


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """Exit code and lines for pip-audit's JSON report."""
    packages = [package for package in report["dependencies"] if package["name"] != OURS]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    lines = [
        f"{package['name']} {package['version']}: {fault['id']}"
        f" (cured in {', '.join(fault['fix_versions']) or 'no version yet'})"
        for package in packages
        for fault in package.get("vulns", [])
    ]
    if skipped or not packages:
        lines.append(
            f"{len(skipped)} of {len(packages)} packages could not be looked up: the database of"
            " vulnerabilities was not reached, or does not know them. This is no verdict."
        )
    if any("vulns" in package and package["vulns"] for package in packages):
        return FOUND, lines
    if skipped or not packages:
        return UNKNOWN, lines
    return NONE_FOUND, [f"{len(packages)} packages, no known vulnerability"]


def main(arguments: Sequence[str]) -> int:
    """Run pip-audit on this environment with further arguments, such as `-s osv`."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", *arguments]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own
    try:
        code, lines = verdict(json.loads(child.stdout))
    except (ValueError, KeyError):
        code, lines = UNKNOWN, ["pip-audit gave no report: its message is above. This is no verdict."]
    print(*lines, sep="\n")  # noqa: T201 - this is a command
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
