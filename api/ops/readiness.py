"""Asks every dependency whether it answers, never twice at once, however often /readyz is called."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

CHECK_S: Final = 2.5
Check = Callable[[], Awaitable[None]]


class Readiness:
    """The checks of one application.

    Args:
        checks: name of a part to what asks it; it raises when the part does not answer.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._asking: dict[str, asyncio.Task[str]] = {}

    def add(self, name: str, check: Check) -> None:
        """Ask one more part from now on."""
        self._checks[name] = check

    async def ask(self) -> dict[str, str]:
        """`ok` or the name of the error, for every part."""
        said = await asyncio.gather(*[self._said(name) for name in self._checks])
        return dict(zip(self._checks, said, strict=True))

    async def _said(self, name: str) -> str:
        task = self._asking.get(name)
        if task is None or task.done():
            # A check that hangs is waited for, not repeated: its thread would hang once more.
            task = self._asking[name] = asyncio.create_task(_answer(self._checks[name]))
        done, _ = await asyncio.wait([task], timeout=CHECK_S)
        return task.result() if done else "TimeoutError"


async def _answer(check: Check) -> str:
    try:
        await check()
    except Exception as error:  # noqa: BLE001 - whatever a driver raises means "not ready"; its name is told
        return type(error).__name__
    return "ok"
