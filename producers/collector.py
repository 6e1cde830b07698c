"""The garbage collector of a process that sends files (docs/decisions/0016)."""

import gc
from typing import Final

_THRESHOLDS: Final = (50_000, 20, 100)


def collect_seldom() -> None:
    """Let what start-up made alone, and look for garbage seldom; for the whole process.

    A batch of rows holds some thousand small objects for a moment and makes no cycles.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
