"""Whether everything that was in a topic at a moment has an outcome: no record of before is on its way then.

On a topic with traffic there is always something that is not judged yet. So the ends are remembered as a
horizon when an old intention is first looked at, and the ledger's ranges need to pass that one only.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client

from api.errors import BrokerAway
from api.ledger.tails import TailsAway, TopicState, TopicTails
from api.store import Store
from sinks import epochs, ledger_outcomes
from sinks.quarantine import Place

log = structlog.get_logger(__name__)

Intention = tuple[Place, str]
"""A refused record, and what tells apart the attempts on it."""
HORIZONS: Final = 2
"""Horizons that must be passed: a row that lies in another partition than its home's is sent on before the
first one is, and is judged before the second one is."""
_FORGET_S: Final = 3600.0
"""Notes that nobody asked for in so long are dropped."""


@dataclass(slots=True)
class _Note:
    """How far it is with one intention.

    Attributes:
        passed: how many horizons were passed.
        ends: partition → end of its log, the horizon that is waited for; None before it was read.
        asked: when it was last asked for, seconds of the monotonic clock.
    """

    asked: float
    passed: int = 0
    topic_id: str = ""
    ends: Mapping[int, int] | None = None


class Horizons:
    """Remembers horizons of intentions, in memory; after a restart they are read anew. Takes many threads.

    Args:
        tails: asks the broker for the ends of a topic; None when there is no broker to ask.
    """

    def __init__(self, store: Store, tails: TopicTails | None) -> None:
        self._store = store
        self._tails = tails
        self._notes: dict[Intention, _Note] = {}
        # held over a whole look: the second ends have to be read after the first horizon was passed
        self._lock = threading.Lock()

    def passed(self, topic: str, intentions: Iterable[Intention]) -> set[Intention]:
        """Those of these intentions, all on records of the topic, that have no record on its way any more.

        The caller knows that whatever followed them is in the log by now; it asks again about the others.

        Raises:
            BrokerAway: the broker does not tell its ends.
            StoreAway: ClickHouse does not answer.
        """
        wanted = set(intentions)
        with self._lock:
            now = time.monotonic()
            for intention in wanted:
                self._notes.setdefault(intention, _Note(now)).asked = now
            self._look(topic)
            return {intention for intention in wanted if self._notes[intention].passed >= HORIZONS}

    def look(self) -> None:
        """Go on with all notes, so that somebody who asks again is not kept for another horizon.

        Raises:
            BrokerAway, StoreAway: as `passed`.
        """
        with self._lock:
            before = time.monotonic() - _FORGET_S
            self._notes = {key: note for key, note in self._notes.items() if note.asked > before}
            for topic in sorted({place[0] for place, _ in self._notes}):
                self._look(topic)

    def forget(self, intentions: Iterable[Intention]) -> None:
        """Drop notes of intentions that ended."""
        with self._lock:
            for intention in intentions:
                self._notes.pop(intention, None)

    def _look(self, topic: str) -> None:
        for _ in range(HORIZONS):
            mine = [note for (place, _), note in self._notes.items() if place[0] == topic]
            if waiting := [note for note in mine if note.passed < HORIZONS]:
                self._step(topic, waiting)

    def _step(self, topic: str, notes: Iterable[_Note]) -> None:
        """Give notes a horizon that have none, then see who passed his: at most one each."""
        now = self._state(topic)
        for note in notes:
            # of a topic that was made anew nothing is left to wait for
            if note.ends is None or note.topic_id != now.topic_id:
                note.topic_id = now.topic_id
                note.ends = {part: end for part, (_, end) in now.spans.items()}
        judged = self._store.ask(_next_offsets, topic, now.topic_id)
        starts = {part: first for part, (first, _) in now.spans.items()}
        for note in notes:
            ends = note.ends or {}
            if all(max(judged.get(part, 0), starts.get(part, 0)) >= end for part, end in ends.items()):
                note.passed += 1
                note.ends = None

    def _state(self, topic: str) -> TopicState:
        if self._tails is None:
            raise BrokerAway
        try:
            return self._tails.state(topic)
        except TailsAway as error:
            log.warning("ends_unknown", error=str(error))
            raise BrokerAway from None


def _next_offsets(client: Client, topic: str, topic_id: str) -> dict[int, int]:
    epoch = epochs.known_epoch(client, topic, topic_id)
    return {} if epoch is None else ledger_outcomes.ledger_next_offsets(client, topic, epoch)
