"""Whether the workers have dealt with everything that was published up to a moment: asked, never guessed.

A receipt may lack rows that nobody will judge any more: retention took them, or a request was answered
503 and the broker has only some of them. That is told when the ledger's ranges have passed every offset
that the broker gave out until then.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from api.ledger.tails import TailsAway, TopicState, TopicTails
from api.receipts.names import to_ms
from api.store import Store
from sinks.epochs import known_epoch
from sinks.ledger_outcomes import ledger_next_offsets
from sinks.receipts import Detours, detours

MARGIN: Final = timedelta(minutes=2)
"""Added to when the last row was published: clocks of ours and the broker's differ, and a record that was
given up may still arrive for some seconds."""
MOST_ASKED: Final = 5
"""Questions to the broker about one topic for one page of receipts."""


class Reached:
    """Answers for one request, and remembers them.

    Args:
        tails: None when there is no broker to ask: then nothing is known to be dealt with.
    """

    def __init__(self, store: Store, tails: TopicTails | None) -> None:
        self._store = store
        self._tails = tails
        self._dealt_with: dict[str, datetime] = {}
        self._asked: dict[str, int] = {}

    def passed(self, topic: str, started_at: datetime, closed_at: datetime | None) -> Detours | None:
        """What happened on the way, if all that was published between the moments is dealt with; else None.

        Blocks. Ask about the latest receipt first: its answer holds for all before it.

        Raises:
            StoreAway: ClickHouse does not answer; a broker that does not is no error.
        """
        if closed_at is None or self._tails is None:
            return None
        until = closed_at + MARGIN
        if until > datetime.now(UTC):
            return None
        known = self._dealt_with.get(topic)
        if known is None or until > known:
            if self._asked.get(topic, 0) >= MOST_ASKED:
                return None
            self._asked[topic] = self._asked.get(topic, 0) + 1
            if not self._is_passed(self._tails, topic, until):
                return None
            self._dealt_with[topic] = until
        found = self._store.ask(detours, topic, started_at)
        if found.forwarded and not self._is_passed(self._tails, topic, None):
            return None  # what was sent on from there may still wait elsewhere
        return found

    def _is_passed(self, tails: TopicTails, topic: str, until: datetime | None) -> bool:
        """Whether the ranges reach where the topic ended at a moment, without one where it ends now."""
        try:
            state = tails.state(topic) if until is None else tails.state_at(topic, to_ms(until))
        except TailsAway:
            return False
        judged = self._store.ask(_judged, topic, state)
        return all(judged.get(part, 0) >= end for part, (_, end) in state.spans.items())


def _judged(client: Client, topic: str, state: TopicState) -> Mapping[int, int]:
    """Partition → offset up to which the records of this very topic are judged, sent on, or lost."""
    epoch = known_epoch(client, topic, state.topic_id)
    return {} if epoch is None else ledger_next_offsets(client, topic, epoch)
