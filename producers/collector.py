"""The garbage collector of a process that many rows pass through (docs/decisions/0016)."""

import gc


def collect_seldom(young: int) -> None:
    """Let what start-up made alone, and look for garbage seldom; for the whole process.

    A batch of rows holds many small objects for a moment and makes no cycles.

    Args:
        young: new objects after which the youngest are looked at.
    """
    gc.freeze()
    gc.set_threshold(young, 20, 100)
