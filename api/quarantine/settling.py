"""What became of claims: ended when the ledger knows the replay, given up when there can be none.

A process may die between its claim and the acknowledgement of its record, so a claim alone does not tell
whether a record is on its way. It is known to be none when the claim is old, everything is judged that the
topic held then (`api/quarantine/horizons.py`), and still no ledger row names the row.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.audit.service import Actor, Deed
from api.db import now_ms
from api.errors import BrokerAway, StoreAway
from api.ledger.tails import TopicTails
from api.quarantine.claims import Claims, Owned, owned_by, place_of
from api.quarantine.horizons import Horizons, Intention
from api.store import Store
from api.tables import QuarantineClaim
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
        self.horizons = Horizons(store, tails)
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
        ended = self.settle(found) if found else 0
        self.horizons.look()
        return ended

    def settle(self, claims: Sequence[QuarantineClaim]) -> int:
        """End those of these claims about which it is known what became of them; returns how many.

        Raises:
            StoreAway, BrokerAway: it cannot be told of all; those of which it can are ended.
        """
        judged = self._replayed(claims)
        # before the broker is asked, which may be away: their outcomes are known
        ended = self._end([claim for claim in claims if place_of(claim) in judged])
        limit = now_ms() - timedelta(seconds=CLAIM_S)
        old = [c for c in claims if place_of(c) not in judged and c.claimed_at < limit]
        passed, away = self._passed(old)
        old = [claim for claim in old if _intention(claim) in passed]
        judged |= self._replayed(old)  # judged while we were asking
        void = [claim for claim in old if place_of(claim) not in judged]
        ended += self._end([claim for claim in old if place_of(claim) in judged])
        self._give_up(void)
        self.horizons.forget(map(_intention, void))
        if away is not None:
            raise away
        return ended + len(void)

    def _passed(self, claims: Sequence[QuarantineClaim]) -> tuple[set[Intention], BrokerAway | None]:
        """Claims that nothing can follow any more; a topic that is not answered for holds up no other one."""
        passed: set[Intention] = set()
        away: BrokerAway | None = None
        for topic in sorted({claim.topic for claim in claims}):
            try:
                passed |= self.horizons.passed(topic, [_intention(c) for c in claims if c.topic == topic])
            except BrokerAway as error:
                away = error
        return passed, away

    def _end(self, claims: Sequence[QuarantineClaim]) -> int:
        """End claims whose replays were judged; returns how many."""
        self._claims.release(map(_intention, claims), Actor(SETTLER, ""))
        self.horizons.forget(map(_intention, claims))
        return len(claims)

    def _give_up(self, claims: Sequence[QuarantineClaim]) -> None:
        """Free rows whose claimant never did anything; a discard that was stored stays one.

        Whose claim is not the one that discarded the row did not restore it, which the audit says, too.

        `withdrawn` carries the claim's id and ends that attempt alone, however late it is stored. It comes
        before the claim is released, so dying between the two leaves a claim that is given up again.
        """
        if not claims:
            return
        found = self._store.ask(standings, map(owned_by, claims))
        free = [claim for claim in claims if found[place_of(claim)].latest is not Action.DISCARDED]
        for claim_id in sorted({claim.claim_id for claim in free}):
            rows = [owned_by(claim) for claim in free if claim.claim_id == claim_id]
            self._store.append(TABLE, action_batch(rows, Action.WITHDRAWN, SETTLER, claim_id=claim_id))
        vain = [
            claim for claim in claims if claim in free or found[place_of(claim)].claim_id != claim.claim_id
        ]
        deeds = {_intention(claim): withdrawal(owned_by(claim), "never_sent") for claim in vain}
        ended = self._claims.release(map(_intention, claims), Actor(SETTLER, ""), deeds)
        log.warning("claims_given_up", rows=len(ended & deeds.keys()))

    def _replayed(self, claims: Iterable[QuarantineClaim]) -> set[Place]:
        rows = [owned_by(claim) for claim in claims]
        if not rows:
            return set()
        return {place for place, found in self._store.ask(standings, rows).items() if found.replayed}


def _intention(claim: QuarantineClaim) -> Intention:
    return place_of(claim), claim.claim_id


def subject(place: Place) -> str:
    """A row's name in the audit."""
    return f"{place[0]}/{place[1]}"


def withdrawal(row: Owned, code: str) -> Deed:
    """The audit's entry for a claim that nothing followed."""
    owner, place = row
    return Deed("quarantine.withdrawn", ROW, subject(place), owner, {"because": code})
