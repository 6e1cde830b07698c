"""Whoever takes a partition over waits until nothing of its former owner can become visible any more."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from sinks.client import ClientFactory
from streams.former_owner import GAP_S, FormerOwner
from tests.streams.transport.rig import until

LIMIT_S = 0.4
STRETCH_S = LIMIT_S + GAP_S


class Store:
    """Answers as the script says: each entry is what happens at one question; at once when it has ended."""

    def __init__(self, *script: Callable[[], None]) -> None:
        self._script = list(script)
        self.asked = 0
        self.disturbed = 0.0
        self.open = 0

    def connect(self) -> Any:
        self.open += 1
        return self

    def command(self, _sql: str) -> None:
        self.asked += 1
        if self._script:
            try:
                self._script.pop(0)()
            finally:
                self.disturbed = time.monotonic()

    def close(self) -> None:
        self.open -= 1


def at_once() -> None:
    """The store answers."""


def stands_still() -> None:
    """The store is stopped for a while, then answers."""
    time.sleep(GAP_S + 0.2)


def is_away() -> None:
    """No connection."""
    raise ConnectionRefusedError


def waiter(store: Store) -> FormerOwner:
    """What waits for the former owner's inserts in this store."""
    return FormerOwner(cast(ClientFactory, store.connect), LIMIT_S)


@pytest.mark.parametrize("trouble", [stands_still, is_away])
async def test_the_wait_begins_anew_when_the_store_did_not_answer(trouble: Callable[[], None]) -> None:
    """After whatever kept the store from answering, inserts may begin: their whole time is waited for."""
    store = Store(at_once, at_once, trouble)
    await waiter(store).gone()
    assert time.monotonic() - store.disturbed >= STRETCH_S
    assert store.open == 0


async def test_a_store_that_answers_is_waited_for_once() -> None:
    """An insert may take its time limit, and a little for answers that come late."""
    store = Store()
    began = time.monotonic()
    await waiter(store).gone()
    assert time.monotonic() - began >= STRETCH_S
    assert store.asked >= 3


async def test_who_gives_up_stops_asking() -> None:
    """When the partitions go on to somebody else meanwhile, nobody asks any more."""
    store = Store()
    waiting = asyncio.ensure_future(waiter(store).gone())
    await until(lambda: store.asked)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: not store.open)
