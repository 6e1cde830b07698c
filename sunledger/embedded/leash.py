"""Run a command so that it ends with its parent: `python leash.py PARENT_PID -- command ...`.

On Linux the kernel itself kills the command when the parent dies, kill -9 included. Elsewhere this process
stays as a guard: it watches its parent and kills the command when the parent is gone. Standard library only:
it is started as a plain file, without importing the package, because it runs before every part.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType

PR_SET_PDEATHSIG = 1
_GUARD_PERIOD_S = 0.2


def tie_to_parent(parent_pid: int) -> bool:
    """Ask the kernel to kill this process with its parent; False where the kernel cannot."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # noqa: PLC0415 -- costs 5 ms, and only Linux needs it

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        return False
    # The parent may have died between the fork and the call above: no signal will come then.
    if os.getppid() != parent_pid:
        os._exit(1)
    return True


def guard(parent_pid: int, argv: list[str]) -> int:
    """Run `argv` as a child, pass signals on, and kill it once the parent is gone. Returns its exit code."""
    child = subprocess.Popen(argv)  # noqa: S603 -- our own command lines

    def pass_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    while child.poll() is None:
        if os.getppid() != parent_pid:
            child.kill()
            child.wait()
            return 1
        time.sleep(_GUARD_PERIOD_S)
    return child.returncode


def main(args: list[str]) -> int:
    """Entry point; does not return on Linux, where the command replaces this process."""
    parent_pid, separator, argv = int(args[0]), args[1], args[2:]
    if separator != "--" or not argv:
        raise SystemExit("usage: leash.py PARENT_PID -- command ...")
    if tie_to_parent(parent_pid):
        os.execvp(argv[0], argv)  # noqa: S606 -- no shell is the point
    return guard(parent_pid, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
