"""Several pollers in one process: a slow or silent source holds up one of them, not the others."""

import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog

from producers.metrics import POLLERS_MOVED
from producers.poller import Poller

log = structlog.get_logger(__name__)

QUIET_S: Final = 300.0
"""How long one step of a poller may take before it counts as hanging."""
_LOOK_S: Final = 0.5


class Pollers:
    """Runs pollers in threads until they are stopped or one of them fails.

    Args:
        pollers: each with a store of its own.
        quiet_s: see `QUIET_S`.
    """

    def __init__(self, pollers: Sequence[Poller], quiet_s: float = QUIET_S) -> None:
        self._pollers = pollers
        self._quiet_s = quiet_s

    def run(self) -> None:
        """Serve until `stop` is called; returns earlier when a poller ends by itself, which is a failure."""
        threads = [
            threading.Thread(target=poller.run, name=f"poller-{number}", daemon=True)
            for number, poller in enumerate(self._pollers, 1)
        ]
        for thread in threads:
            thread.start()
        while all(thread.is_alive() for thread in threads):
            threads[0].join(_LOOK_S)
            self._show()
        self.stop()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        """Ask all to end soon."""
        for poller in self._pollers:
            poller.stop()

    def why_not_ready(self) -> str | None:
        """Which pollers hang, and for how long; None while all of them move."""
        quiet = {number: time.monotonic() - poller.moved_at for number, poller in enumerate(self._pollers, 1)}
        hanging = [
            f"poller {number} for {seconds:.0f} s"
            for number, seconds in quiet.items()
            if seconds > self._quiet_s
        ]
        return f"a source holds up {', '.join(hanging)}" if hanging else None

    def _show(self) -> None:
        for number, poller in enumerate(self._pollers, 1):
            POLLERS_MOVED.labels(str(number)).set(time.time() - (time.monotonic() - poller.moved_at))
