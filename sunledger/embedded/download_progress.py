"""Progress of a download: a bar on a terminal, plain lines elsewhere (CI logs, pipes)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
from rich.progress import Progress as RichProgress

_LINES = 5


class Progress(Protocol):
    """Told about every finished file; called from several threads."""

    def done(self, name: str, size: int) -> None:
        """One file of `size` bytes is complete."""


class _Bar:
    def __init__(self, bar: RichProgress, label: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(f"fetching {label}", total=total)

    def done(self, name: str, size: int) -> None:
        self._bar.update(self._task, advance=size, description=f"fetched {name.split(':')[1]}")


class _Lines:
    """A line each fifth of the way."""

    def __init__(self, label: str, files: int, total: int) -> None:
        self._label, self._files, self._total = label, files, total
        self._count = self._bytes = self._said = 0
        self._lock = threading.Lock()
        self._say(f"fetching {files} {label}, {total / 1e6:.0f} MB")

    def done(self, name: str, size: int) -> None:
        with self._lock:
            self._count += 1
            self._bytes += size
            step = self._bytes * _LINES // max(self._total, 1)
            if step > self._said:
                self._said = step
                self._say(f"fetched {self._count} of {self._files} {self._label}, {self._bytes / 1e6:.0f} MB")

    def _say(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def progress(label: str, files: int, total_bytes: int) -> Iterator[Progress]:
    """Show the progress of `files` files with `total_bytes` bytes in all, on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(label, files, total_bytes)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with RichProgress(*columns, console=console) as bar:
        yield _Bar(bar, label, total_bytes)
