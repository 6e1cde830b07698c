"""Payments, second half: deduplicate against what is stored, find conflicts, hint at the match."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.conflicts import DEFAULT_RULE
from schemas.identity import home_of, payment_key
from schemas.outcomes import Outcome
from schemas.versions import Identity, Sight, Version, stored_identity
from sinks import restore
from sinks.restore import Orphan
from sinks.rulings import latest_decisions
from streams.history import History
from streams.index import Key, PaymentIndex
from streams.metrics import MATCHED
from streams.payments_prepare import PreparedPayments
from streams.payments_work import KeyRow, Payment, PaymentsWork
from streams.quarantine import Quarantine
from streams.registry import Registry
from streams.rows import Row
from streams.store import Lease, Store
from streams.turn import Decided, Verdict

Refusals = Mapping[int, str]
"""Position → reason, of rows that the store refused."""


class DecidePayments:
    """Decides turns of payments, one after the other."""

    def __init__(
        self,
        store: Store,
        index: PaymentIndex,
        history: History,
        registry: Registry,
        quarantine: Quarantine,
        topic: str,
    ) -> None:
        self._store = store
        self._index = index
        self._history = history
        self._registry = registry
        self._quarantine = quarantine
        self._topic = topic

    def __call__(
        self, turn: Sequence[PreparedPayments], partitions: int, refused: Refusals, lease: Lease
    ) -> tuple[Decided, list[KeyRow]]:
        """Decide every row of the turn that has no outcome yet.

        Args:
            partitions: number of partitions of the topic, to tell rows of other homes.

        Returns:
            What to write, and the keys to remember after it is written.
        """
        rows = [row for prepared in turn for row in prepared.rows]
        work = PaymentsWork(self._history.judged([prepared.batch for prepared in turn], rows, lease))
        for row in rows:
            if work.first_sight(row):
                self._refuse(row, work, refused)
        payments = self._mine(turn, partitions, work, refused)
        self._judge(payments, work, lease)
        return work.assemble(self._quarantine, self._topic), work.keys

    def _refuse(self, row: Row, work: PaymentsWork, refused: Refusals) -> None:
        """Give a verdict on a row that is bad by itself, or that the store refused."""
        faults = [refused[row.position]] if row.position in refused else row.reasons
        if not faults:
            return
        record_id = record_id_of(row)
        orphan = self._history.orphan(row.position)
        if orphan is None or orphan.outcome == Outcome.QUARANTINED:
            reasons = orphan.reasons if orphan else list(dict.fromkeys(faults))
            work.verdict(Verdict(row, Outcome.QUARANTINED, record_id, reasons=reasons))
            return
        # stored as good by code that judged otherwise: what is stored stays, and so does its key
        dataset = self._registry.dataset(row.organization_id, row.dataset_id)
        home = home_of(payment_key(row.organization_id, dataset.id_namespace if dataset else "", record_id))
        work.keys.append((home, orphan.identity, orphan.content_hash, row.position, orphan.outcome, 0))
        work.verdict(Verdict(row, Outcome(orphan.outcome), record_id, orphan.identity, orphan.content_hash))

    def _mine(
        self, turn: Sequence[PreparedPayments], partitions: int, work: PaymentsWork, refused: Refusals
    ) -> list[Payment]:
        """Valid rows to judge here; rows of other partitions' homes are set aside to be sent on."""
        mine = []
        for prepared in turn:
            elsewhere = (prepared.homes % np.uint32(partitions) != prepared.batch.partition).tolist()
            for at, index in enumerate(prepared.valid):
                row = prepared.rows[index]
                if id(row) in work.skipped or row.position in refused:
                    continue
                if elsewhere[at]:
                    work.decided.forwards.append((row, prepared.keys[at]))
                else:
                    mine.append(Payment(prepared, at))
        return mine

    def _judge(self, payments: list[Payment], work: PaymentsWork, lease: Lease) -> None:
        identities = np.fromiter((p.identity for p in payments), np.uint64, len(payments))
        homes = np.fromiter((p.home for p in payments), np.uint32, len(payments))
        special = (self._index.known(homes, identities) | _repeated(identities)).tolist()
        looked = [
            payment
            for payment, is_special in zip(payments, special, strict=True)
            if is_special or self._history.orphan(payment.row.position)
        ]
        if looked:
            work.began_ms = self._store.read(restore.server_now_ms, lease)
        known = self._look_up(looked, lease)
        for payment in payments:
            found = known.get(payment.identity)
            if found is None:
                self._accept(payment, Outcome.ACCEPTED, work)
            elif (orphan := self._history.orphan(payment.row.position)) is not None:
                self._keep(payment, found, orphan, work)
            else:
                self._judge_known(payment, found, work)

    def _look_up(self, payments: Sequence[Payment], lease: Lease) -> dict[int, Identity]:
        """What is known of these identities; stored fields only where contents differ."""
        known: dict[int, Identity] = {}
        load: set[int] = set()
        for payment in payments:
            if payment.identity not in known:
                keys = sorted(self._index.keys(payment.home, payment.identity), key=_by_position)
                known[payment.identity] = Identity([Version(*key) for key in keys], set(), None)
            found = known[payment.identity]
            if self._history.orphan(payment.row.position) or (
                found.versions and not found.knows(payment.content)
            ):
                load.add(payment.identity)
        if load:
            at = {payment.row.position for payment in payments}
            again = {position for position in at if self._history.orphan(position) is None}
            self._load_versions(load, again, known, lease)
        return known

    def _load_versions(
        self, load: set[int], again: set[int], known: dict[int, Identity], lease: Lease
    ) -> None:
        """Load stored versions, but for those of rows that are being judged: a first attempt at this turn
        stored them, before the store refused another row."""
        stored = self._store.read(lambda client: restore.stored_payments(client, load), lease)
        decisions = self._store.read(lambda client: latest_decisions(client, load), lease)
        versions: dict[int, list[Mapping[str, Any]]] = {identity: [] for identity in load}
        for fields in stored:
            if fields["position"] not in again:
                versions[fields["identity"]].append(fields)
        for identity in load:
            judged = {version.content for version in known[identity].versions}
            known[identity] = stored_identity(versions[identity], judged, decisions.get(identity))

    def _keep(self, payment: Payment, known: Identity, orphan: Orphan, work: PaymentsWork) -> None:
        """A row that the tables hold without a ledger row keeps what it was stored as: outcome and content.

        A release may have changed how contents are told in between; the ledger names what is stored.
        """
        outcome, row = Outcome(orphan.outcome), payment.row
        verdict = self._verdict(payment, outcome)
        if outcome is Outcome.QUARANTINED:
            work.verdict(replace(verdict, reasons=orphan.reasons))
            return
        work.verdict(replace(verdict, identity=orphan.identity, content_hash=orphan.content_hash))
        work.keys.append((payment.home, orphan.identity, orphan.content_hash, row.position, outcome.value, 0))
        ruled = known.decision is not None and orphan.content_hash in known.decision.known
        if outcome is Outcome.CONFLICT and not ruled:
            # the process may have died between the version and the rule's decision on it
            before = list(takewhile(lambda version: version.position != row.position, known.versions))
            earlier = Identity(before, known.aliases, known.decision)
            self._rule(payment, orphan.content_hash, earlier, work)
            known.decision = earlier.decision

    def _judge_known(self, payment: Payment, known: Identity, work: PaymentsWork) -> None:
        sight = known.sight(payment.content, payment.fields)
        if sight is Sight.KNOWN:
            work.verdict(self._verdict(payment, sight.outcome))
            return
        if sight is Sight.FURTHER:
            self._rule(payment, payment.content, known, work)
        spelled = known.spelling_of(payment.fields()) if sight is Sight.SPELLING else None
        known.learn(sight, Version(payment.content, payment.row.position, payment.fields()))
        if sight is Sight.SPELLING:
            work.key(payment, "alias", spelled or 0)
            work.verdict(self._verdict(payment, sight.outcome))
            return
        self._accept(payment, sight.outcome, work)

    def _rule(self, payment: Payment, content: int, known: Identity, work: PaymentsWork) -> None:
        """Let the dataset's conflict rule decide, where it does."""
        rule = payment.dataset.conflict_rule if payment.dataset else DEFAULT_RULE
        ruling = known.rule(rule, content, payment.fields()) if known.versions else None
        if ruling is not None:
            work.rulings.append((payment, ruling, known.decide(ruling, work.began_ms)))

    def _accept(self, payment: Payment, outcome: Outcome, work: PaymentsWork) -> None:
        work.store(payment, outcome)
        work.verdict(self._verdict(payment, outcome))

    def _verdict(self, payment: Payment, outcome: Outcome) -> Verdict:
        names = payment.column("meter_id"), payment.column("external_id")
        connection, result = self._registry.match(
            payment.row.organization_id, payment.dataset, names, payment.column("timestamp")
        )
        if outcome is Outcome.ACCEPTED:
            MATCHED.labels(result).inc()
        return Verdict(
            payment.row, outcome, payment.column("id"), payment.identity, payment.content, matched=connection
        )


def record_id_of(row: Row) -> str:
    """The seed field ID of a row that may be bad; empty when it cannot be told."""
    value = (row.value or {}).get("ID")
    if isinstance(value, str | int) and not isinstance(value, bool):
        text = str(value).strip()
        return text if len(text) <= 256 and text.isprintable() else ""
    return ""


def _repeated(identities: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which identities occur more than once."""
    _, inverse, counts = np.unique(identities, return_inverse=True, return_counts=True)
    repeated: npt.NDArray[np.bool_] = counts[inverse] > 1
    return repeated


def _by_position(version: Version | Key) -> int:
    return version.position
