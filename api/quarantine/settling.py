"""What became of claims: ended when the ledger knows the replay, given up when there can be none.

A process may die between its claim and the acknowledgement of its record, so a claim alone does not tell
whether a record is on its way. It is known to be none when the claim is old, every partition of the topic
is judged up to its present end, and still no ledger row names the row.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.audit.service import Actor, Deed
from api.db import now_ms
from api.errors import BrokerAway, StoreAway
from api.ledger.tails import TailsAway, TopicTails
from api.quarantine.claims import Claims, Owned, owned_by, place_of
from api.store import Store
from api.tables import QuarantineClaim
from sinks import epochs, ledger_outcomes
from sinks.quarantine import Place
from sinks.quarantine_actions import CLAIM_S, TABLE, Action, action_batch, standings

log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
AT_ONCE: Final = 1000
SETTLER: Final = "settler"
ROW: Final = "quarantined_row"
"""Kind of an audit's subject."""


class Settler:
    """A loop beside the requests of each API process; any number of them do no harm to each other.

    Args:
        tails: asks the broker for the ends of a topic; None when there is no broker to ask.
    """

    def __init__(self, claims: Claims, store: Store, tails: TopicTails | None) -> None:
        self._claims = claims
        self._store = store
        self._tails = tails
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Look every `EVERY_S` seconds, until `stop`."""
        while not self._stop.is_set():
            try:
                await run_in_threadpool(self.step)
            except (StoreAway, BrokerAway, SQLAlchemyError) as error:
                log.warning("claims_wait", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._stop.wait()

    def stop(self) -> None:
        """End `run` after the look it is at."""
        self._stop.set()

    def step(self) -> int:
        """Settle the oldest claims; returns how many ended. Blocks.

        Raises:
            StoreAway, BrokerAway: it cannot be told now.
        """
        found = self._claims.oldest(AT_ONCE, now_ms())
        return self.settle(found) if found else 0

    def settle(self, claims: Sequence[QuarantineClaim]) -> int:
        """End those of these claims about which it is known what became of them; returns how many."""
        judged = self._replayed(claims)
        done = [claim for claim in claims if place_of(claim) in judged]
        limit = now_ms() - timedelta(seconds=CLAIM_S)
        old = [c for c in claims if place_of(c) not in judged and c.claimed_at < limit]
        passed = {topic for topic in {claim.topic for claim in old} if self.passed(topic)}
        old = [claim for claim in old if claim.topic in passed]
        judged |= self._replayed(old)  # judged while we were asking
        void = [claim for claim in old if place_of(claim) not in judged]
        done += [claim for claim in old if place_of(claim) in judged]
        self._give_up(void)
        me = Actor(SETTLER, "")
        self._claims.release([(place_of(claim), claim.claim_id) for claim in done], me)
        return len(done) + len(void)

    def _give_up(self, claims: Sequence[QuarantineClaim]) -> None:
        """Free rows whose claimant never sent anything; a discard that was stored stays one."""
        rows = [owned_by(claim) for claim in claims]
        if not rows:
            return
        found = self._store.ask(standings, rows)
        free = [row for row in rows if found[row[1]].latest is not Action.DISCARDED]
        if free:
            self._store.append(TABLE, action_batch(free, Action.WITHDRAWN, SETTLER))
        deeds = [withdrawal(row, "never_sent") for row in free]
        keys = [(place_of(claim), claim.claim_id) for claim in claims]
        self._claims.release(keys, Actor(SETTLER, ""), deeds)
        log.warning("claims_given_up", rows=len(free))

    def passed(self, topic: str) -> bool:
        """Whether everything that is in a topic now has an outcome.

        Asked twice: a row that lies in another partition than its home's is judged only after it was
        sent on, and by then the first one is finished.

        Raises:
            BrokerAway: the broker does not tell its ends.
            StoreAway: ClickHouse does not answer.
        """
        return all(self._judged_to_the_end(topic) for _ in range(2))

    def _judged_to_the_end(self, topic: str) -> bool:
        if self._tails is None:
            raise BrokerAway
        try:
            now = self._tails.state(topic)
        except TailsAway as error:
            log.warning("ends_unknown", error=str(error))
            raise BrokerAway from None
        judged = self._store.ask(_next_offsets, topic, now.topic_id)
        return all(max(judged.get(part, 0), first) >= end for part, (first, end) in now.spans.items())

    def _replayed(self, claims: Iterable[QuarantineClaim]) -> set[Place]:
        rows = [owned_by(claim) for claim in claims]
        if not rows:
            return set()
        return {place for place, found in self._store.ask(standings, rows).items() if found.replayed}


def _next_offsets(client: Client, topic: str, topic_id: str) -> dict[int, int]:
    epoch = epochs.known_epoch(client, topic, topic_id)
    return {} if epoch is None else ledger_outcomes.ledger_next_offsets(client, topic, epoch)


def subject(place: Place) -> str:
    """A row's name in the audit."""
    return f"{place[0]}/{place[1]}"


def withdrawal(row: Owned, code: str) -> Deed:
    """The audit's entry for a claim that nothing followed."""
    owner, place = row
    return Deed("quarantine.withdrawn", ROW, subject(place), owner, {"because": code})
