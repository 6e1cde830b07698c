"""The contract of one part of the stack, and how to wait until it really answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sunledger.embedded.errors import NotReady, PartFailed
from sunledger.embedded.process import Child, describe_exit

_POLL_S = 0.05


@dataclass(frozen=True)
class Command:
    """A command line and what it needs around it; secrets travel in `env` or files, never in `argv`."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


class Part(Protocol):
    """One process of the stack."""

    @property
    def name(self) -> str:
        """Short name: of the log file, in `status`, and in `after` of other parts."""

    @property
    def after(self) -> Sequence[str]:
        """Names of the parts that must answer before this one starts."""

    @property
    def start_timeout_s(self) -> float:
        """How long it may take from its start until it answers."""

    def prepare(self) -> None:
        """Make the data directory ready. Called before every start; cheap when nothing is to be done.

        May block for seconds the first time. Raises PartFailed.
        """

    def command(self) -> Command:
        """The command that runs it."""

    def probe(self) -> None:
        """Return when the part answers as a client would see it; raise anything otherwise, and `NotReady`
        when the part itself says why.

        Must return or raise within about two seconds.
        """


def start(part: Part, log_dir: Path) -> Child:
    """Prepare and start `part`, without waiting for it to answer."""
    part.prepare()
    command = part.command()
    return Child.start(part.name, command.argv, log_dir, command.env, command.cwd)


def wait_ready(
    part: Part,
    child: Child,
    timeout_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Block until `part` answers; `tell` hears every time why it says that it is not ready.

    Raises PartFailed when the process ends first or `timeout_s` (default: the part's own) passes.
    """
    deadline = time.monotonic() + (part.start_timeout_s if timeout_s is None else timeout_s)
    problem = "never probed"
    while True:
        code = child.poll()
        if code is not None:
            raise PartFailed(part.name, ended(child, code))
        try:
            part.probe()
        except Exception as error:  # noqa: BLE001 -- whatever a client library raises means "not yet"
            problem = f"{type(error).__name__}: {error}"
            if isinstance(error, NotReady):
                tell(str(error))
        else:
            return
        if time.monotonic() > deadline:
            raise PartFailed(part.name, f"does not answer ({problem})\n" + "\n".join(child.tail()))
        time.sleep(_POLL_S)


def ended(child: Child, code: int) -> str:
    """Why a child ended: its exit code in words and the last lines of its log."""
    return "\n".join([describe_exit(code), *child.tail()])
