"""Children end with their parent, whatever happens to it, and log into bounded files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from sunledger.embedded import leash
from sunledger.embedded.process import Child, is_alive, rotate, tail

SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


def until_gone(pid: int, limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while is_alive(pid):
        assert time.monotonic() < deadline, "child outlived its parent"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_child_ends_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    """The parent is killed; the child, started from a thread that has long ended, goes too."""
    script = f"""
        import sys, threading, time
        from pathlib import Path
        from sunledger.embedded.process import Child
        def go():
            child = Child.start("c", {SLEEP!r}, Path({str(tmp_path)!r}))
            print(child.pid, flush=True)
        thread = threading.Thread(target=go); thread.start(); thread.join()
        time.sleep(1000)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(number)
        parent.wait()
    until_gone(pid)


def test_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The kernel's signal follows the forking thread: it must not be a short-lived one."""
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(Child.start("c", SLEEP, tmp_path)))
    thread.start()
    thread.join()
    [child] = children
    assert child.wait(0.5) is None
    assert child.stop() == -signal.SIGTERM


def test_leash_notices_a_parent_that_is_already_gone(tmp_path: Path) -> None:
    """The parent died before the leash was tied: the command never starts."""
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", f"open({str(mark)!r}, 'w')"]
    # Our own pid plus one is certainly not the parent of the new process.
    code = subprocess.run(
        [sys.executable, leash.__file__, str(os.getpid() + 1), "--", *command], check=False
    ).returncode
    assert code == 1
    assert not mark.exists()


def test_guard_without_kernel_help(tmp_path: Path) -> None:
    """Where the kernel cannot kill children, a guard does; it passes signals and exit codes on."""
    assert leash.guard(os.getppid(), [sys.executable, "-c", "raise SystemExit(7)"]) == 7
    pid_file = tmp_path / "pid"
    command = [
        sys.executable,
        "-c",
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid()) + ';'); time.sleep(1000)",
    ]
    script = f"from sunledger.embedded import leash; exit(leash.guard({os.getpid() + 1}, {command!r}))"
    # The guard is told of another parent than it has: its parent counts as gone.
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=20).returncode == 1
    text = pid_file.read_text() if pid_file.exists() else ""
    assert not text.endswith(";") or not is_alive(int(text[:-1]))


def test_stop_kills_after_the_grace_period(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed; one that is stopped by SIGSTOP still gets the signal."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(1000)"
    child = Child.start("stubborn", [sys.executable, "-c", code], tmp_path)
    while child.tail() != ["on"]:
        time.sleep(0.02)
    assert child.stop(grace_s=0.2) == -signal.SIGKILL
    frozen = Child.start("frozen", SLEEP, tmp_path)
    frozen.send(signal.SIGSTOP)
    assert frozen.stop(grace_s=5) == -signal.SIGTERM


def test_logs_are_appended_and_rotated(tmp_path: Path) -> None:
    """A second start appends; a log that has grown too large moves aside; the tail is the end of it."""
    for word in ("one", "two"):
        Child.start("c", [sys.executable, "-c", f"print({word!r})"], tmp_path).wait()
    log = tmp_path / "c.log"
    assert tail(log) == ["one", "two"]
    assert tail(log, 1) == ["two"]
    rotate(log, max_bytes=3)
    assert not log.exists()
    assert tail(tmp_path / "c.log.1") == ["one", "two"]
    assert tail(log) == []
