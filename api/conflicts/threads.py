"""Threads of their own for decisions: who waits for his turn must keep nobody else waiting.

Requests share forty threads. Forty people who decide at once would take them all, and devices and systems
could not send until the last of them had his turn.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")

DECIDING: Final = 8
"""Threads of a process that decide, or wait for their turn; further requests wait without one."""
_limiter: Final[RunVar[CapacityLimiter]] = RunVar("deciders")


async def in_own_thread(work: Callable[[], T]) -> T:
    """Do something that may wait for its turn, in one of the threads for that, first come first served."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(DECIDING)
        _limiter.set(limiter)
    return await to_thread.run_sync(work, limiter=limiter)
