"""Keep one part running: start it when its dependencies answer, watch it, start it again with back-off."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sunledger.embedded import part as parts
from sunledger.embedded.errors import NotReady, PartFailed
from sunledger.embedded.part import Part
from sunledger.embedded.process import Child, describe_exit
from sunledger.embedded.status import DEAD, FAILED, READY, STARTING, STOPPED, UNREADY, StatusBoard

_WATCH_S = 0.1
_PROBE_S = 5.0
_PATIENCE = 2
"""Probes without an answer, one after the other, after which a part counts as not ready."""


@dataclass(frozen=True)
class RestartPolicy:
    """How often a part may end: more than `deaths` within `window_s` seconds and it is given up."""

    deaths: int = 5
    window_s: float = 60.0
    first_delay_s: float = 0.5
    max_delay_s: float = 10.0

    def delay_s(self, deaths: int) -> float:
        """The pause before the next start, after that many recent deaths."""
        return min(self.max_delay_s, self.first_delay_s * 2.0 ** (deaths - 1))


class Runner(threading.Thread):
    """The thread of one part. `ready` is set while it answers; `given_up` says why it is hopeless."""

    def __init__(self, part: Part, board: StatusBoard, log_dir: Path, policy: RestartPolicy) -> None:
        super().__init__(name=f"runner-{part.name}", daemon=True)
        self.part = part
        self.ready = threading.Event()
        self.given_up: str | None = None
        self.before: Mapping[str, Runner] = {}
        self._board = board
        self._log_dir = log_dir
        self._policy = policy
        self._stopping = threading.Event()
        self._child: Child | None = None
        self._child_lock = threading.Lock()
        self._deaths: deque[float] = deque()
        self._restarts = 0

    def run(self) -> None:
        """Start and watch until stopped or given up. Never raises."""
        while not self._stopping.is_set():
            if not all(runner.ready.is_set() for runner in self.before.values()):
                self._stopping.wait(_WATCH_S)
                continue
            try:
                reason = self._live()
            except Exception as error:  # noqa: BLE001 -- one broken part must not take the thread down unseen
                reason = str(error) or repr(error)
            self.ready.clear()
            if self._stopping.is_set():
                break
            if not self._again(reason):
                return
        self._board.set(self.part.name, STOPPED, pid=None, reason=None)

    def _live(self) -> str:
        """One life of the part; returns why it ended."""
        name = self.part.name
        self._board.set(name, STARTING, pid=None, restarts=self._restarts)
        with self._child_lock:
            if self._stopping.is_set():
                return ""
            child = self._child = parts.start(self.part, self._log_dir)
        self._board.set(name, STARTING, pid=child.pid)
        try:
            parts.wait_ready(self.part, child, tell=lambda why: self._say(STARTING, why))
        except PartFailed as error:
            # It may hang instead of being dead: nothing of it may be left when it starts again.
            child.stop(grace_s=2)
            return error.reason
        self.ready.set()
        self._board.set(name, READY, reason=None)
        failures = 0
        while (code := child.wait(_PROBE_S)) is None:
            failures = self._look(failures)
        return parts.ended(child, code)

    def _look(self, failures: int) -> int:
        """Probe a part that runs; returns how often in a row it has not answered.

        It is not started again for that: what is overloaded, stopped by a debugger, or waits for another
        part is better off alone, and whoever looks at `status` is told.
        """
        try:
            self.part.probe()
        except Exception as error:  # noqa: BLE001 -- whatever a client library raises means "no answer"
            failures += 1
            if failures >= _PATIENCE:
                said = str(error) or type(error).__name__
                self._say(UNREADY, said if isinstance(error, NotReady) else f"does not answer: {said}")
            return failures
        if failures >= _PATIENCE:
            self._board.set(self.part.name, READY, reason=None)
        return 0

    def _say(self, state: str, reason: str) -> None:
        """Note why the part is not ready; the same as before is not written again."""
        known = self._board.get(self.part.name)
        if (known.state, known.reason) != (state, reason):
            self._board.set(self.part.name, state, reason=reason)

    def _again(self, reason: str) -> bool:
        """Note a death; wait before the next start. False when there have been too many."""
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > self._policy.window_s:
            self._deaths.popleft()
        code = self._child.poll() if self._child else None
        last_exit = None if code is None else describe_exit(code)
        if len(self._deaths) >= self._policy.deaths:
            text = f"ended {len(self._deaths)} times within {self._policy.window_s:.0f} s; last: {reason}"
            self._board.set(self.part.name, FAILED, pid=None, last_exit=last_exit, reason=text)
            self.given_up = text
            return False
        self._board.set(self.part.name, DEAD, pid=None, last_exit=last_exit, reason=reason)
        self._restarts += 1
        self._stopping.wait(self._policy.delay_s(len(self._deaths)))
        return True

    def stop(self, grace_s: float) -> None:
        """End the part (SIGTERM, SIGKILL after `grace_s` seconds) and the thread."""
        self._stopping.set()
        with self._child_lock:
            child = self._child
        if child is not None:
            child.stop(grace_s)
        if self.is_alive():
            self.join()
