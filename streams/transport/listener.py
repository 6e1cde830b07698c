"""What the transport tells the worker about its partitions."""

from collections.abc import Mapping
from typing import Protocol

from faust.types import TP

from streams.transport.thread import Start


class Listener(Protocol):
    """Hears of assignments, revocations and losses."""

    def assigned(self, generation: int, starts: Mapping[TP, Start], first_member: bool) -> None:
        """Partitions begin at these offsets; must not block: restoring goes on beside it."""

    def revoked(self, generation: int) -> None:
        """Every partition of this generation is given up; nothing of it may be stored any more."""

    def lost(self, topic: str, partition: int, first: int, next_offset: int) -> None:
        """Retention deleted these offsets before they were read: record it and raise an alarm."""


class NobodyListens:
    """The listener of a transport whose worker keeps nothing per partition."""

    def assigned(self, generation: int, starts: Mapping[TP, Start], first_member: bool) -> None:
        """Nothing to restore."""

    def revoked(self, generation: int) -> None:
        """Nothing to forget."""

    def lost(self, topic: str, partition: int, first: int, next_offset: int) -> None:
        """Nothing to record beyond the transport's own log line."""
