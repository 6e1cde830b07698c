"""What the supervisor knows about its parts, in a file that others read: `status.json`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sunledger.embedded.files import is_held, read_json, write_json
from sunledger.embedded.layout import Layout

SUPERVISOR = "supervisor"
# waiting → starting → ready; dead → starting; failed: given up; stopped: on request; gone: no supervisor.
# unready: it runs and was ready, and does not answer now.
READY, UNREADY, WAITING, STARTING, DEAD, FAILED, STOPPED, GONE = (
    "ready",
    "unready",
    "waiting",
    "starting",
    "dead",
    "failed",
    "stopped",
    "gone",
)


@dataclass(frozen=True)
class PartStatus:
    """One part (or the supervisor itself): its state, since when (Unix seconds), why it is not ready."""

    name: str
    state: str
    since: float
    pid: int | None = None
    restarts: int = 0
    last_exit: str | None = None
    reason: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it answers, as far as is known."""
        return self.state == READY


class StatusBoard:
    """The statuses of all parts; every change is written to the file at once. Thread-safe."""

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self._path = path
        self._lock = threading.Lock()
        now = time.time()
        self._parts = {name: PartStatus(name, WAITING, now) for name in names}

    def set(self, name: str, state: str, **changes: Any) -> None:
        """Change one part; fields not given stay."""
        with self._lock:
            self._parts[name] = replace(self._parts[name], state=state, since=time.time(), **changes)
            write_json(self._path, {"parts": [asdict(part) for part in self._parts.values()]})

    def get(self, name: str) -> PartStatus:
        """The status of one part."""
        with self._lock:
            return self._parts[name]


def read(layout: Layout) -> list[PartStatus]:
    """The statuses last written, the supervisor first.

    Without a living supervisor every part that was not stopped on purpose is `gone`: the parts end with it.
    """
    document = read_json(layout.status) or {}
    parts = [PartStatus(**entry) for entry in document.get("parts", [])]
    if is_held(layout.lock):
        return parts
    return [_gone(part) for part in parts]


def _gone(part: PartStatus) -> PartStatus:
    if part.state in (STOPPED, FAILED):
        return part
    reason: str | None
    if part.name == SUPERVISOR:
        reason = "the supervisor ended without stopping its parts (killed?)"
    else:
        reason = "ended with the supervisor" if part.state in (READY, STARTING) else part.reason
    return replace(part, state=GONE, reason=reason)
