"""Start a part as a child process that cannot outlive us, with its output in a bounded log file."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from sunledger.embedded import leash

MAX_LOG_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 16 * 1024


class _Spawner:
    """One thread, alive as long as the process, that does every fork.

    Linux sends the parent-death signal when the *thread* that forked ends: a part started from a pool thread
    would be killed as soon as that thread finishes.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[
            tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]
        ]
        self._jobs = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def run(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._thread is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._jobs = queue.SimpleQueue()
                self._thread = threading.Thread(target=self._work, name="spawner", daemon=True)
                self._thread.start()
        future: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((job, future))
        return future.result()

    def _work(self) -> None:
        jobs = self._jobs
        while True:
            job, future = jobs.get()
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 -- handed to the caller's thread
                future.set_exception(error)


_spawner = _Spawner()


class Child:
    """A running (or ended) part. Start one with `Child.start`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.log_path = log_path
        self._process = process

    @classmethod
    def start(
        cls,
        name: str,
        argv: Sequence[str],
        log_dir: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Child:
        """Start `argv` with `env` added to ours; output is appended to `log_dir/name.log`.

        Raises OSError when the interpreter itself cannot be started; a missing command shows as exit code 127
        or a traceback in the log.
        """
        log_dir.mkdir(parents=True, exist_ok=True)
        log_path = log_dir / f"{name}.log"
        rotate(log_path)
        # -I -S: no site-packages, no environment: the wrapper starts in some 15 ms.
        wrapper = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), "--", *argv]

        def spawn() -> subprocess.Popen[bytes]:
            with log_path.open("ab") as log:
                return subprocess.Popen(  # noqa: S603 -- our own command lines
                    wrapper,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    # Ctrl-C in a terminal must reach only us: we stop the parts in order.
                    start_new_session=True,
                )

        return cls(name, _spawner.run(spawn), log_path)

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; None when `timeout_s` passes first."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def stop(self, grace_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after `grace_s` seconds. Returns the exit code."""
        if self.poll() is None:
            # A stopped process would leave SIGTERM pending for ever.
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            if self.wait(grace_s) is None:
                self.send(signal.SIGKILL)
        return self._process.wait()

    def tail(self, lines: int = 8) -> list[str]:
        """The last lines of the log."""
        return tail(self.log_path, lines)


def rotate(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move a log that has grown beyond `max_bytes` to `<name>.1`, replacing the one before."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > max_bytes:
            path.replace(path.with_name(path.name + ".1"))


def tail(path: Path, lines: int = 8) -> list[str]:
    """The last non-empty lines of a file, without reading more than its end."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def describe_exit(code: int) -> str:
    """An exit code in words: `exit code 3`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits for its parent to notice does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except OSError:
        # No /proc on this system, or the process of another user.
        return True
