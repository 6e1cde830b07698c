"""The right to act on refused rows: taken, looked at again, given back. Steps 2 to 4 and 6 of the desk."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from api import ids
from api.audit.service import Actor, Deed
from api.quarantine.claims import Claims, Owned
from api.quarantine.drafts import Skipped
from api.quarantine.errors import AlreadyReplayed, BeingReplayed, CannotAct, IsDiscarded, NotDiscarded
from api.quarantine.settling import Settler, withdrawal
from api.store import Store
from sinks.quarantine import Place
from sinks.quarantine_actions import (
    ACT_WITHIN_S,
    CLAIM_S,
    TABLE,
    Action,
    Standing,
    action_batch,
    standings,
)

CLAIM: Final = "clm"
Fault = Callable[[Standing], CannotAct | None]
"""What speaks against acting on a row."""


def replayed_or_discarded(at: Standing) -> CannotAct | None:
    """The fault of a row that is through with."""
    if at.replayed:
        return AlreadyReplayed()
    return IsDiscarded() if at.latest is Action.DISCARDED else None


def not_discarded(at: Standing) -> CannotAct | None:
    """The fault of a row that there is nothing to restore of."""
    return None if at.latest is Action.DISCARDED and not at.replayed else NotDiscarded()


class Attempt:
    """One request's attempt to act on rows.

    Args:
        fault: what speaks against the act.
        skipped: where rows go that it cannot be done with, and why.
    """

    def __init__(
        self, claims: Claims, store: Store, settler: Settler, actor: Actor, fault: Fault, skipped: Skipped
    ) -> None:
        self._claims = claims
        self._store = store
        self._settler = settler
        self._actor = actor
        self._fault = fault
        self._skipped = skipped
        self._id = ids.new_id(CLAIM)
        self._began = time.monotonic()

    def look(self, rows: Sequence[Owned]) -> list[Owned]:
        """Rows that nothing speaks against; the others are skipped."""
        found = self._store.ask(standings, rows)
        for _, place in rows:
            if why := self._fault(found[place]):
                self._skipped[place] = why
        return [row for row in rows if row[1] not in self._skipped]

    def take(self, rows: Sequence[Owned], deeds: Mapping[Place, Deed], *, changed: bool) -> list[Owned]:
        """The rows that are this request's to act on from now on; the others are skipped.

        Raises:
            StoreAway, BrokerAway: it cannot be told; what was claimed is settled later.
        """
        if not rows:
            return []
        self._began = time.monotonic()
        mine = self._claimed(rows, deeds)
        free = self.look(mine)
        self._give_back([row for row in mine if row not in free])
        if free:
            self._append(free, Action.CLAIMED, changed=changed)
            lost = self._lost(free)
            if lost:
                self._append(lost, Action.WITHDRAWN)
                self._give_back(lost)
        return [row for row in free if row[1] not in self._skipped]

    @property
    def in_time(self) -> bool:
        """Whether the claim still keeps everybody else away for long enough to act."""
        return time.monotonic() - self._began <= ACT_WITHIN_S

    def mark(self, rows: Sequence[Owned], action: Action, why: str) -> None:
        """Store an action, and give the rows back."""
        if rows:
            self._append(rows, action, reason=why)
            self._claims.release([(place, self._id) for _, place in rows], self._actor)

    def _claimed(self, rows: Sequence[Owned], deeds: Mapping[Place, Deed]) -> list[Owned]:
        """Rows claimed in SQL, where need be after old claims on them were settled."""
        taken = self._claims.take(self._id, rows, self._actor, deeds)
        left = [row for row in rows if row[1] not in taken]
        if left and self._settler.settle(self._claims.of(place for _, place in left)):
            taken |= self._claims.take(self._id, left, self._actor, deeds)
        for _, place in rows:
            if place not in taken:
                self._skipped[place] = BeingReplayed()
        return [row for row in rows if row[1] in taken]

    def _lost(self, mine: Sequence[Owned]) -> list[Owned]:
        """Rows that the sweep was faster with; an old intention of it may be a dead worker's."""
        found = self._store.ask(standings, mine)
        topics = {topic for (topic, _), at in found.items() if _long_ago(at)}
        if passed := {topic for topic in topics if self._settler.passed(topic)}:
            found = self._store.ask(standings, mine)
        for place, at in found.items():
            if at.replayed:
                self._skipped[place] = AlreadyReplayed()
            elif at.requeued_age_s is not None and not (_long_ago(at) and place[0] in passed):
                self._skipped[place] = BeingReplayed()
        return [row for row in mine if row[1] in self._skipped]

    def _append(
        self, rows: Sequence[Owned], action: Action, *, changed: bool = False, reason: str = ""
    ) -> None:
        batch = action_batch(
            rows, action, self._actor.user_id, claim_id=self._id, changed=changed, reason=reason
        )
        self._store.append(TABLE, batch)

    def _give_back(self, rows: Sequence[Owned]) -> None:
        """End claims that nothing will follow, and say so in the audit."""
        if rows:
            deeds = [withdrawal(row, self._skipped[row[1]].code) for row in rows]
            self._claims.release([(place, self._id) for _, place in rows], self._actor, deeds)


def _long_ago(at: Standing) -> bool:
    return not at.replayed and at.requeued_age_s is not None and at.requeued_age_s > CLAIM_S
