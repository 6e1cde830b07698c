"""The latest rows of a sender, for the brakes: counted row by row, in the order in which they were received.

A turn may be longer than a window. What matters is the window at each of its rows, not the one at its end:
500 bad rows in the middle of 50,000 are as bad as 500 in a turn of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.outcomes import Outcome
from streams.turn import Verdict

WINDOW_ROWS: Final = 2000
"""Latest rows of a dataset, or of an organisation, that are looked at."""
Flags = npt.NDArray[np.bool_]
"""Whether each row was refused, in the order of reception."""
Numbers = npt.NDArray[np.int64]
_NONE: Final[Flags] = np.zeros(0, np.bool_)


class Trouble(NamedTuple):
    """A window that passes a limit: its rows, the refused ones, and those one after the other at its end."""

    rows: int
    bad: int
    run: int


@dataclass(frozen=True, slots=True)
class Window:
    """The latest rows of somebody; never changed, so that a turn that is dropped leaves no trace.

    Attributes:
        latest: at most `WINDOW_ROWS` rows.
        run: refused rows at the end, one after the other; may reach further back than `latest`.
        moment: when the last row was looked at (seconds of the monotonic clock).
        fails: a limit was passed at the last row; an alert was raised when that began.
    """

    latest: Flags = field(default_factory=lambda: _NONE)
    run: int = 0
    moment: float = 0.0
    fails: bool = False

    @property
    def rows(self) -> int:
        """Rows looked at."""
        return len(self.latest)

    @property
    def share(self) -> float:
        """Refused rows among the latest."""
        return int(np.count_nonzero(self.latest)) / self.rows if self.rows else 0.0

    def after(self, flags: Flags, moment: float, fails: bool = False) -> "Window":
        """The window when these rows have come, too."""
        latest = np.concatenate((self.latest, flags[-WINDOW_ROWS:]))[-WINDOW_ROWS:]
        good = np.flatnonzero(~flags)
        run = len(flags) - 1 - int(good[-1]) if len(good) else self.run + len(flags)
        return Window(latest, run, moment, fails)

    def begins_to_fail(
        self, flags: Flags, min_rows: int, share: float, run: int
    ) -> tuple[Trouble | None, bool]:
        """How the window looks where it begins to fail among these rows, and whether it fails at the last.

        Args:
            min_rows: rows below which a share says nothing.
            share: of refused rows among the latest; passed, not reached.
            run: refused rows one after the other.
        """
        if not flags.any() and not self.latest.any():
            return None, False
        rows, bad = self._counts(flags)
        runs = self._runs(flags)
        fails = ((rows >= min_rows) & (bad > share * rows)) | (runs >= run)
        begins = np.flatnonzero(fails & ~np.concatenate(([self.fails], fails[:-1])))
        trouble = None
        if len(begins):
            at = begins[0]
            trouble = Trouble(int(rows[at]), int(bad[at]), int(runs[at]))
        return trouble, bool(fails[-1])

    def _counts(self, flags: Flags) -> tuple[Numbers, Numbers]:
        """Rows of the window and refused ones among them, at each of these rows."""
        until = np.concatenate(([0], np.cumsum(np.concatenate((self.latest, flags)))))
        ends = np.arange(self.rows + 1, self.rows + len(flags) + 1)
        begins = np.maximum(ends - WINDOW_ROWS, 0)
        return ends - begins, until[ends] - until[begins]

    def _runs(self, flags: Flags) -> Numbers:
        """Refused rows one after the other that end at each of these rows."""
        numbers = np.arange(len(flags))
        return numbers - np.maximum.accumulate(np.where(flags, -1 - self.run, numbers))


def as_received(verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
    """Verdicts in the order in which their rows were received; a turn's are in the order of judging."""
    received = np.fromiter((verdict.row.received_ms for verdict in verdicts), np.int64, len(verdicts))
    positions = np.fromiter((verdict.row.position for verdict in verdicts), np.uint64, len(verdicts))
    return [verdicts[at] for at in np.lexsort((positions, received)).tolist()]


def flags_of(verdicts: Sequence[Verdict]) -> Flags:
    """Whether each of the rows was refused."""
    refused = (verdict.outcome is Outcome.QUARANTINED for verdict in verdicts)
    return np.fromiter(refused, np.bool_, len(verdicts))


def good(rows: int) -> Flags:
    """The flags of rows of which none was refused."""
    return np.zeros(rows, np.bool_)
