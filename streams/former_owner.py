"""Inserts of a partition's former owner: waited for until each of them is stored or dead."""

import asyncio
import threading
import time
from contextlib import closing
from typing import Final

import structlog

from sinks.client import ClientFactory
from sinks.errors import classify

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.2
GAP_S: Final = 1.0
"""Answers further apart than this: the store stood still, or we did."""
ANSWER_S: Final = 2.0
"""Longest wait for an answer that clients for this should have."""


class FormerOwner:
    """Waits until nothing that others have sent to the store can become visible any more.

    The server ends an insert after its time limit, but that begins when the server does: one that stands
    still, or is away, takes up what waits at its door long after the partitions changed hands. What counts
    is therefore a stretch of time through which the store answers all along (docs/decisions/0034).

    Args:
        clients: makes connections that wait `ANSWER_S` for an answer.
        insert_limit_s: how long an insert may run on the server.
    """

    def __init__(self, clients: ClientFactory, insert_limit_s: float) -> None:
        self._clients = clients
        self._stretch_s = insert_limit_s + GAP_S

    async def gone(self) -> None:
        """Return after the store has answered for as long as an insert may take, without a gap."""
        given_up = threading.Event()
        try:
            await asyncio.to_thread(self._wait, given_up)
        finally:
            given_up.set()

    def _wait(self, given_up: threading.Event) -> None:
        while not given_up.is_set():
            try:
                with closing(self._clients()) as client:
                    began = last = time.monotonic()
                    while last - began < self._stretch_s and not given_up.wait(LOOK_S):
                        client.command("SELECT 1")
                        answered = time.monotonic()
                        began, last = (began if answered - last <= GAP_S else answered), answered
                    return
            except Exception as error:  # noqa: BLE001 - told, and begun anew
                log.warning("store_does_not_answer", error=str(classify(error)))
                given_up.wait(LOOK_S)
