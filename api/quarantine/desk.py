"""Acts on refused rows: replays, discards, restores. One flow for all, written as numbered steps.

1. look        rows that were replayed or discarded are left out; a replay's record is made.
               A failure changes nothing.
2. claim       SQL: one request at a time has a row; the audit entry is in the same transaction. What
               others did until then is looked at once more. Dying from here on: the settler ends the
               claim when it is known what became of the row.
3. announce    `claimed` in ClickHouse, so that the sweep of the workers sees it.
4. look again  what the sweep did before step 3 was stored; whoever was first keeps the row.
5. act         publish and wait for every acknowledgement, or store the action.
6. release     a replay's claim is kept until its outcome is in the ledger: there is nothing to record
               after publishing, so dying there doubles nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from api.audit import service as audit
from api.audit.service import Actor, Deed
from api.db import Database
from api.errors import BrokerAway, NotFound, StoreAway
from api.metrics import PUBLISH_FAILURES, QUARANTINE_ACTIONS
from api.quarantine.attempts import Attempt, Fault, not_discarded, not_to_be_replayed, replayed_or_discarded
from api.quarantine.claims import Claims, Owned
from api.quarantine.drafts import Drafts, Skipped
from api.quarantine.originals import EDITABLE, Opener, Original
from api.quarantine.settling import ROW, Settler, subject
from api.store import Store
from producers.publisher import Publisher, PublishError, Record
from sinks.quarantine import Place, RefusedRow, sealed_rows
from sinks.quarantine_actions import Action

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Done:
    """What was done, and why not with the others.

    Attributes:
        changed: whether a replay sends other content than the row had.
    """

    places: list[Place] = field(default_factory=list)
    skipped: Skipped = field(default_factory=dict)
    changed: bool = False


class Desk:
    """Where refused rows are acted on. Blocks: for worker threads.

    Args:
        patience_s: how long the broker is waited for.
    """

    def __init__(
        self,
        db: Database,
        store: Store,
        publisher: Publisher,
        opener: Opener,
        drafts: Drafts,
        settler: Settler,
        patience_s: float,
    ) -> None:
        self._db = db
        self._store = store
        self._publisher = publisher
        self._opener = opener
        self._drafts = drafts
        self._settler = settler
        self._patience_s = patience_s
        self._claims = Claims(db)

    def row(self, topic: str, position: int) -> RefusedRow:
        """The refused row at a place.

        Raises:
            NotFound: there is none.
        """
        found = self.rows(topic, [position])
        if not found:
            raise NotFound
        return found[0]

    def rows(self, topic: str, positions: Sequence[int]) -> list[RefusedRow]:
        """The refused rows at these places of a topic."""
        return self._store.ask(sealed_rows, topic, positions)

    def original(self, actor: Actor, row: RefusedRow) -> Original:
        """A row as its sender meant it; the audit's entry is committed before the seal is opened.

        Raises:
            SealUnopenable: it was sealed under another secret.
        """
        with self._db.write() as session:
            audit.record(session, actor, [_deed("quarantine.original_opened", row, {})])
        return self._opener.open(row)

    def replay(self, actor: Actor, rows: Sequence[RefusedRow], changes: Mapping[str, Any]) -> Done:
        """Send rows of one topic again, as new records that name the ones they replay.

        Args:
            changes: for a single row, see `originals.corrected`.

        Raises:
            Invalid: the changes cannot be made.
            BrokerAway: not all was acknowledged; the claims stay until it is known what was.
            StoreAway: ClickHouse or SQL does not answer.
        """
        done = Done()
        attempt = self._attempt(actor, not_to_be_replayed, done)
        free = _among(rows, attempt.look([_owned(row) for row in rows]))
        records, done.changed = self._drafts.make(free, changes, done.skipped)
        if not records:
            return done
        self._reach_broker(free[0].topic)
        names = sorted(name if name in EDITABLE[free[0].record_type] else "(other)" for name in changes)
        details = {"fields": names, "changed": done.changed}
        sent = [row for row in free if _place(row) in records]
        deeds = {_place(row): _deed("quarantine.replay", row, details) for row in sent}
        mine = attempt.take([_owned(row) for row in sent], deeds, changed=done.changed)
        self._publish([records[place] for _, place in mine], attempt)
        return _finished(done, mine, "replayed")

    def discard(self, actor: Actor, rows: Sequence[RefusedRow], why: str) -> Done:
        """Give rows up; nothing replays them any more, until they are restored."""
        deeds = {_place(row): _deed("quarantine.discard", row, {"reason": why}) for row in rows}
        done = Done()
        attempt = self._attempt(actor, replayed_or_discarded, done)
        mine = self._to_mark(attempt, rows, deeds, announce=True)
        attempt.mark(mine, Action.DISCARDED, why)
        return _finished(done, mine, "discarded")

    def restore(self, actor: Actor, rows: Sequence[RefusedRow]) -> Done:
        """Undo a discard. Dying before it is withdrawn leaves it as it is."""
        deeds = {_place(row): _deed("quarantine.restore", row, {}) for row in rows}
        done = Done()
        attempt = self._attempt(actor, not_discarded, done)
        mine = self._to_mark(attempt, rows, deeds, announce=False)
        attempt.take_back(mine)
        return _finished(done, mine, "restored")

    def _to_mark(
        self, attempt: Attempt, rows: Sequence[RefusedRow], deeds: Mapping[Place, Deed], *, announce: bool
    ) -> list[Owned]:
        """Rows without a fault, claimed, while there is time to act on them."""
        free = attempt.look([_owned(row) for row in rows])
        mine = attempt.take(free, deeds, changed=False, announce=announce)
        if mine and not attempt.in_time:
            log.warning("action_came_too_late", rows=len(mine))
            raise StoreAway
        return mine

    def _attempt(self, actor: Actor, fault: Fault, done: Done) -> Attempt:
        return Attempt(self._claims, self._store, self._settler, actor, fault, done.skipped)

    def _reach_broker(self, topic: str) -> None:
        """A broker that is away is noticed before anything is claimed."""
        try:
            self._publisher.partitions(topic)
        except PublishError:
            raise BrokerAway from None

    def _publish(self, records: Sequence[Record], attempt: Attempt) -> None:
        """Step 5: send, and wait until the broker has everything.

        A broker that takes records slowly must not carry the last ones past the claim on their rows.
        """
        if not records:
            return
        group = self._publisher.group()
        try:
            for at, record in enumerate(records):
                if not attempt.in_time:
                    log.warning("action_came_too_late", rows=len(records) - at)
                    raise BrokerAway
                group.add_waiting(record, min(self._patience_s, attempt.left_s))
            group.wait(self._patience_s)
        except PublishError as error:
            PUBLISH_FAILURES.inc()
            log.warning("replay_not_acknowledged", rows=len(records), error=type(error).__name__)
            raise BrokerAway from None


def _finished(done: Done, mine: Sequence[Owned], what: str) -> Done:
    done.places += [place for _, place in mine]
    QUARANTINE_ACTIONS.labels(what).inc(len(done.places))
    return done


def _among(rows: Sequence[RefusedRow], free: Sequence[Owned]) -> list[RefusedRow]:
    places = {place for _, place in free}
    return [row for row in rows if _place(row) in places]


def _place(row: RefusedRow) -> Place:
    return row.topic, row.position


def _owned(row: RefusedRow) -> Owned:
    return row.organization_id, _place(row)


def _deed(action: str, row: RefusedRow, details: Mapping[str, Any]) -> Deed:
    return Deed(action, ROW, subject(_place(row)), row.organization_id, details)
