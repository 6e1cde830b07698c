"""The right to act on refused rows: taken, looked at again, given back. Steps 2 to 4 and 6 of the desk."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from api import ids
from api.audit.service import Actor, Deed
from api.quarantine.claims import Claims, Owned
from api.quarantine.drafts import Skipped
from api.quarantine.errors import (
    AlreadyReplayed,
    BeingReplayed,
    CannotAct,
    IsDiscarded,
    LineCounts,
    NotDiscarded,
)
from api.quarantine.horizons import Intention
from api.quarantine.settling import Settler, withdrawal
from api.store import Store
from sinks.quarantine import Place
from sinks.quarantine_actions import (
    ACT_WITHIN_S,
    CLAIM_S,
    SWEEP,
    TABLE,
    Action,
    Standing,
    action_batch,
    records_of,
    standings,
)

CLAIM: Final = "clm"
Fault = Callable[[Standing], CannotAct | None]
"""What speaks against acting on a row."""


def not_to_be_replayed(at: Standing) -> CannotAct | None:
    """The fault of a row that is through with, or whose line counts already."""
    return replayed_or_discarded(at) or (LineCounts() if at.counted else None)


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
        self._records: dict[Place, list[Place]] = {}
        self._standings: dict[Place, Standing] = {}

    def look(self, rows: Sequence[Owned]) -> list[Owned]:
        """Rows that nothing speaks against; the others are skipped."""
        found = self._standings = self._store.ask(standings, rows)
        for _, place in rows:
            if why := self._fault(found[place]):
                self._skipped[place] = why
        return [row for row in rows if row[1] not in self._skipped]

    def take(
        self, rows: Sequence[Owned], deeds: Mapping[Place, Deed], *, changed: bool, announce: bool = True
    ) -> list[Owned]:
        """The rows that are this request's to act on from now on; the others are skipped.

        Args:
            announce: whether the sweep has to be told, which leaves discarded rows alone anyway: a claim on
                one that is withdrawn would take the discard with it.

        Raises:
            StoreAway, BrokerAway: it cannot be told; what was claimed is settled later.
        """
        if not rows:
            return []
        self._began = time.monotonic()
        mine = self._claimed(rows, deeds)
        free = self.look(mine)
        self._give_back([row for row in mine if row not in free])
        if free and announce:
            self._append(free, Action.CLAIMED, changed=changed)
            lost = self._lost(free)
            if lost:
                self._append(lost, Action.WITHDRAWN)
                self._give_back(lost)
        return [row for row in free if row[1] not in self._skipped]

    @property
    def left_s(self) -> float:
        """Seconds for which the claim still keeps everybody else away for long enough to act; 0 when over."""
        return max(0.0, self._began + ACT_WITHIN_S - time.monotonic())

    @property
    def in_time(self) -> bool:
        """Whether there are such seconds left."""
        return self.left_s > 0

    def mark(self, rows: Sequence[Owned], action: Action, why: str) -> None:
        """Store an action, and give the rows back."""
        if rows:
            self._append(rows, action, reason=why)
            self._claims.release(self._held(rows), self._actor)

    def take_back(self, rows: Sequence[Owned]) -> None:
        """Withdraw what was done last with rows, each by the attempt that did it, and give the rows back."""
        for claim_id in sorted({self._standings[place].claim_id for _, place in rows}):
            mine = [row for row in rows if self._standings[row[1]].claim_id == claim_id]
            self._append(mine, Action.WITHDRAWN, of=claim_id)
        self._claims.release(self._held(rows), self._actor)

    def _claimed(self, rows: Sequence[Owned], deeds: Mapping[Place, Deed]) -> list[Owned]:
        """Rows claimed in SQL with all of their records, where need be after old claims were settled."""
        self._records = self._store.ask(records_of, [place for _, place in rows])
        once = {tuple(self._records[row[1]]): row for row in reversed(rows)}.values()
        taken = self._take(once, deeds)
        left = [row for row in once if row[1] not in taken]
        if left and self._settler.settle(self._claims.of(place for place, _ in self._held(left))):
            taken |= self._take(left, deeds)
        for _, place in rows:
            if place not in taken:
                self._skipped[place] = BeingReplayed()
        return [row for row in rows if row[1] in taken]

    def _take(self, rows: Iterable[Owned], deeds: Mapping[Place, Deed]) -> set[Place]:
        return self._claims.take(self._id, list(rows), self._records, self._actor, deeds)

    def _held(self, rows: Iterable[Owned]) -> list[Intention]:
        """The claims on all records of rows."""
        return [(at, self._id) for _, place in rows for at in self._records[place]]

    def _lost(self, mine: Sequence[Owned]) -> list[Owned]:
        """Rows that the sweep was faster with; an old intention of it may be a dead worker's."""
        found = self._store.ask(standings, mine)
        old = {place: _by_sweep(place, at) for place, at in found.items() if _long_ago(at)}
        passed: set[Intention] = set()
        for topic in sorted({topic for topic, _ in old}):
            mine_here = [intention for (there, _), intention in old.items() if there == topic]
            passed |= self._settler.horizons.passed(topic, mine_here)
        if passed:
            found = self._store.ask(standings, mine)
        for place, at in found.items():
            if at.replayed:
                self._skipped[place] = AlreadyReplayed()
            elif at.requeued_at is not None and not (_long_ago(at) and _by_sweep(place, at) in passed):
                self._skipped[place] = BeingReplayed()
        return [row for row in mine if row[1] in self._skipped]

    def _append(
        self,
        rows: Sequence[Owned],
        action: Action,
        *,
        changed: bool = False,
        reason: str = "",
        of: str | None = None,
    ) -> None:
        every = [(owner, at) for owner, place in rows for at in self._records[place]]
        claim_id = self._id if of is None else of
        batch = action_batch(
            every, action, self._actor.user_id, claim_id=claim_id, changed=changed, reason=reason
        )
        self._store.append(TABLE, batch)

    def _give_back(self, rows: Sequence[Owned]) -> None:
        """End claims that nothing will follow, and say so in the audit."""
        if rows:
            deeds = {(row[1], self._id): withdrawal(row, self._skipped[row[1]].code) for row in rows}
            self._claims.release(self._held(rows), self._actor, deeds)


def _by_sweep(place: Place, at: Standing) -> Intention:
    """The sweep's latest intention to replay a row."""
    return place, f"{SWEEP} {at.requeued_at}"


def _long_ago(at: Standing) -> bool:
    return not at.replayed and at.requeued_age_s is not None and at.requeued_age_s > CLAIM_S
