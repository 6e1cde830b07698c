"""The ports of a data directory: chosen once, kept from start to start, claimed while a stack runs."""

from __future__ import annotations

import os
import random
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sunledger.embedded.errors import StackBusy
from sunledger.embedded.files import FileLock, read_json, write_json

DEFAULT_PORTS = {
    "kafka": 9092,
    "kafka_controller": 9093,
    "clickhouse": 8123,
    "redis": 6379,
    "s3": 9000,
    "api": 8000,
}
# Below the range from which Linux takes ports for outgoing connections: a part that is down for a moment must
# not find its port taken by somebody's client socket.
_FREE_PORTS = range(20000, 32000)


class PortClaims:
    """Claims on ports by one stack, which end with its process.

    A port that is free now may be free for another stack that starts at the same moment; a lock file for
    each port, in a folder of the user's, lets one of them have it.
    """

    def __init__(self, inherited: Mapping[int, int] | None = None) -> None:
        """`inherited` has descriptors of the locks that the parent process held, by port."""
        self._folder = Path(tempfile.gettempdir()) / f"sunledger-ports-{os.getuid()}"
        self._held = {
            port: FileLock.inherited(self._folder / str(port), descriptor)
            for port, descriptor in (inherited or {}).items()
        }
        self._free = set(self._held)

    def take(self, port: int) -> bool:
        """Claim a port; False when it is in use, somebody else's, or taken already."""
        if port in self._free:
            self._free.discard(port)
            return is_free(port)
        lock = FileLock(self._folder / str(port))
        try:
            lock.acquire()
        except StackBusy:
            return False
        if not is_free(port):
            lock.release()
            return False
        self._held[port] = lock
        return True

    def descriptors(self) -> dict[int, int]:
        """Descriptors of the locks by port, for a child process that goes on with them."""
        return {port: lock.descriptor() for port, lock in self._held.items()}

    def release(self) -> None:
        """Give all claims back; calling it twice is harmless."""
        while self._held:
            self._held.popitem()[1].release()


def choose_ports(path: Path, claims: PortClaims, *, prefer_defaults: bool) -> dict[str, int]:
    """The ports of a data directory: those stored at `path` where still free, else new ones, stored again.

    With `prefer_defaults` a new directory takes the well-known ports that are free; without, random ones, so
    that several stacks (tests) never meet. All are claimed.
    """
    stored: dict[str, Any] = read_json(path) or {}
    ports: dict[str, int] = {}
    for name, default in DEFAULT_PORTS.items():
        port = stored.get(name)
        candidates = [port] if isinstance(port, int) else []
        if prefer_defaults and not stored:
            candidates.append(default)
        ports[name] = next((candidate for candidate in candidates if claims.take(candidate)), 0)
        while not ports[name]:
            port = random.choice(_FREE_PORTS)  # noqa: S311 -- no secret
            ports[name] = port if claims.take(port) else 0
    if ports != stored:
        write_json(path, ports)
    return ports


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be listened on now."""
    with socket.socket() as probe:
        # As the servers do: a port in TIME_WAIT after a restart counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
