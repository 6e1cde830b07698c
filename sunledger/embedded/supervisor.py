"""Run the whole stack: start in order, watch, restart, report, stop. One supervisor per data directory.

`up`, `down` and `status` are what the command line calls; each returns an exit code or plain data.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from sunledger.embedded import status as statuses
from sunledger.embedded.aot_training import get_ready
from sunledger.embedded.errors import EmbeddedError
from sunledger.embedded.extra import ExtraPart
from sunledger.embedded.files import FileLock, holder, is_held, write_json
from sunledger.embedded.layout import Layout
from sunledger.embedded.part import Part
from sunledger.embedded.ports import PortClaims
from sunledger.embedded.process import is_alive, rotate, tail
from sunledger.embedded.runner import RestartPolicy, Runner
from sunledger.embedded.stack import Endpoints, plan
from sunledger.embedded.status import FAILED, READY, STARTING, STOPPED, SUPERVISOR, PartStatus, StatusBoard

__all__ = ["ExtraPart", "PartStatus", "RestartPolicy", "Supervisor", "down", "status", "up"]

ExtraParts: TypeAlias = Sequence[ExtraPart] | Callable[[Endpoints], Sequence[ExtraPart]]

_GRACE_S = 15.0
_TICK_S = 0.1
_DETACHED_LIMIT_S = 300.0
_TELL_S = 10.0
_DOWN_LIMIT_S = 90.0


class Supervisor:
    """Runs a set of parts until told to stop or until one cannot be kept alive."""

    def __init__(
        self, layout: Layout, parts: Mapping[str, Part], policy: RestartPolicy | None = None
    ) -> None:
        self._board = StatusBoard(layout.status, [SUPERVISOR, *parts])
        self._runners = {
            name: Runner(part, self._board, layout.logs, policy or RestartPolicy())
            for name, part in parts.items()
        }
        for runner in self._runners.values():
            missing = set(runner.part.after) - set(parts)
            if missing:
                raise EmbeddedError(f"{runner.part.name} waits for unknown parts: {sorted(missing)}")
            runner.before = {name: self._runners[name] for name in runner.part.after}
        self._levels = _levels({name: part.after for name, part in parts.items()})
        self._stop = threading.Event()

    def request_stop(self) -> None:
        """Ask `run` to stop everything and return; safe in a signal handler and from any thread."""
        self._stop.set()

    def run(self, when_ready: Callable[[], None] = lambda: None) -> int:
        """Start everything and block. Returns 0 after a requested stop, 1 when a part was given up."""
        self._board.set(SUPERVISOR, STARTING, pid=os.getpid())
        for runner in self._runners.values():
            runner.start()
        announced = False
        failure: str | None = None
        while not self._stop.wait(_TICK_S) and failure is None:
            if not announced and all(runner.ready.is_set() for runner in self._runners.values()):
                announced = True
                self._board.set(SUPERVISOR, READY)
                when_ready()
            failure = next((f"{n}: {r.given_up}" for n, r in self._runners.items() if r.given_up), None)
        self._stop_parts()
        self._board.set(SUPERVISOR, FAILED if failure else STOPPED, pid=None, reason=failure)
        return 1 if failure else 0

    def _stop_parts(self) -> None:
        """Dependants first; parts that do not depend on each other together."""
        for names in reversed(self._levels):
            with ThreadPoolExecutor(len(names)) as pool:
                list(pool.map(lambda name: self._runners[name].stop(_GRACE_S), names))


def _levels(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Names in starting order, grouped. Raises EmbeddedError on a circle."""
    levels: list[list[str]] = []
    left = dict(after)
    while left:
        level = [name for name, needs in left.items() if not any(need in left for need in needs)]
        if not level:
            raise EmbeddedError(f"parts wait for each other: {sorted(left)}")
        levels.append(level)
        left = {name: needs for name, needs in left.items() if name not in level}
    return levels


def up(
    data_dir: Path | str,
    extra_parts: ExtraParts = (),
    detach: bool = False,
    policy: RestartPolicy | None = None,
) -> int:
    """Run the stack over `data_dir`.

    In the foreground: blocks until SIGTERM or SIGINT (returns 0) or until a part cannot be kept alive (1).
    Detached: returns 0 when everything answers (also when it already ran), 1 and the reason on standard error
    otherwise. `extra_parts` may be a function of the endpoints, called once ports and credentials are known.
    """
    layout = Layout.at(data_dir)
    if detach:
        return _told(lambda: _up_detached(layout, extra_parts))
    return _told(lambda: _up_here(layout, extra_parts, policy, PortClaims()))


def _told(run: Callable[[], int]) -> int:
    """The exit code; what goes wrong in a known way is said."""
    try:
        return run()
    except EmbeddedError as error:
        _say(str(error))
        return 1


def down(data_dir: Path | str) -> int:
    """Stop the supervisor of `data_dir`, wait until everything has ended. Returns 0, also when none ran."""
    layout = Layout.at(data_dir)
    pid = holder(layout.lock)
    if pid is None or not is_held(layout.lock):
        _say(f"nothing runs in {layout.root}")
        return 0
    os.kill(pid, signal.SIGTERM)
    if _until(lambda: not is_held(layout.lock), _DOWN_LIMIT_S):
        # The lock goes a moment before the process does.
        _until(lambda: not is_alive(pid), 5)
        return 0
    # The parts end with it: the kernel sees to that.
    _say(f"the supervisor did not stop within {_DOWN_LIMIT_S:.0f} s: killed")
    os.kill(pid, signal.SIGKILL)
    return 0 if _until(lambda: not is_held(layout.lock), 10) else 1


def status(data_dir: Path | str) -> list[PartStatus]:
    """The supervisor and its parts; empty when nothing ever ran there."""
    return statuses.read(Layout.at(data_dir))


def _up_here(
    layout: Layout, extra_parts: ExtraParts, policy: RestartPolicy | None, claims: PortClaims
) -> int:
    lock = FileLock(layout.lock)
    lock.acquire()
    try:
        get_ready()
        planned = plan(layout, claims, prefer_defaults=True)
        extras = extra_parts(planned.endpoints) if callable(extra_parts) else extra_parts
        asked = {extra.name: extra.base_url for extra in extras if extra.base_url is not None}
        write_json(layout.endpoints, replace(planned.endpoints, ops=asked).as_dict())
        parts: dict[str, Part] = {**planned.parts, **{extra.name: extra for extra in extras}}
        supervisor = Supervisor(layout, parts, policy)

        def stop(_number: int, _frame: FrameType | None) -> None:
            supervisor.request_stop()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        code = supervisor.run(lambda: _say(f"ready: {layout.endpoints}"))
        if code != 0:
            _say(_reason(layout))
        return code
    finally:
        claims.release()
        lock.release()


def _up_detached(layout: Layout, extra_parts: ExtraParts) -> int:
    if is_held(layout.lock):
        return _await_ready(layout, None)
    # Here rather than in the detached process: its progress is for the person who waits.
    get_ready()
    lock, claims = FileLock(layout.lock), PortClaims()
    with lock:
        endpoints = plan(layout, claims, prefer_defaults=True).endpoints
    extras = extra_parts(endpoints) if callable(extra_parts) else extra_parts
    layout.logs.mkdir(parents=True, exist_ok=True)
    log_path = layout.logs / "supervisor.log"
    rotate(log_path)
    layout.status.unlink(missing_ok=True)
    claimed = claims.descriptors()
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 -- ourselves
            [sys.executable, "-m", "sunledger.embedded.supervisor", str(layout.root)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=tuple(claimed.values()),
            cwd=Path(__file__).resolve().parents[2],
        )
    # By the pipe, because the environments of the parts hold secrets.
    if process.stdin is not None:
        handed = {"parts": [extra.as_dict() for extra in extras], "ports": claimed}
        process.stdin.write(json.dumps(handed).encode())
        process.stdin.close()
    claims.release()
    code = _await_ready(layout, process)
    # It lives on without us: no warning about a child nobody waits for.
    process.returncode = 0
    return code


def _await_ready(layout: Layout, process: subprocess.Popen[bytes] | None) -> int:
    """0 when everything answers. What takes longer than ten seconds is named, and again every ten seconds."""
    began = time.monotonic()
    told_s = 0.0
    while (waited_s := time.monotonic() - began) < _DETACHED_LIMIT_S:
        known = {part.name: part for part in statuses.read(layout)}
        if known.get(SUPERVISOR) is not None and known[SUPERVISOR].is_ready:
            return 0
        if process is None and not is_held(layout.lock):
            break
        if process is not None and process.poll() is not None:
            break
        if waited_s - told_s >= _TELL_S:
            told_s = waited_s
            _say(_still(list(known.values()), waited_s))
        time.sleep(_TICK_S)
    _say(_reason(layout))
    return 1


def _still(parts: Sequence[PartStatus], waited_s: float) -> str:
    """Which parts are waited for, and what each of them says."""
    missing = [p for p in parts if not p.is_ready and p.name != SUPERVISOR]
    names = "; ".join(f"{p.name} is {p.state}" + (f": {p.reason}" if p.reason else "") for p in missing)
    return f"after {waited_s:.0f} s: {names or 'the supervisor is starting'}"


def _reason(layout: Layout) -> str:
    """Why the stack is not up: the parts that are not ready, or the end of the supervisor's log."""
    lines = [f"{p.name}: {p.state}: {p.reason}" for p in statuses.read(layout) if not p.is_ready and p.reason]
    return "\n".join(lines or tail(layout.logs / "supervisor.log") or ["the stack did not start"])


def _until(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_TICK_S)
    return True


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main(args: Sequence[str]) -> int:
    """The detached process: its data directory as argument, more parts and claimed ports as JSON on stdin."""
    handed = json.load(sys.stdin)
    extras = [ExtraPart.from_dict(value) for value in handed["parts"]]
    claims = PortClaims({int(port): descriptor for port, descriptor in handed["ports"].items()})
    return _told(lambda: _up_here(Layout.at(args[0]), extras, None, claims))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
