"""What is collected while a turn of payments is decided, and the record batches made of it."""

from collections.abc import Sequence
from typing import Any

from schemas.outcomes import Outcome
from schemas.versions import Ruling
from streams.index import Key, PaymentIndex
from streams.payments_prepare import PreparedPayments
from streams.quarantine import Quarantine
from streams.registry import Dataset
from streams.rows import Row
from streams.turn import Decided, Fact, Verdict, lineage, positions_of

KeyRow = tuple[int, int, int, int, str, int]
"""A row of `payment_keys`: home, identity, content, position, outcome, content that an alias spells anew."""


class Payment:
    """One valid payment of a turn and where its columns are."""

    __slots__ = ("at", "content", "dataset", "home", "identity", "prepared", "row")

    def __init__(self, prepared: PreparedPayments, at: int) -> None:
        self.prepared = prepared
        self.at = at
        self.row: Row = prepared.rows[prepared.valid[at]]
        self.identity = prepared.identities[at]
        self.content = prepared.content[at]
        self.home = int(prepared.homes[at])
        self.dataset: Dataset | None = prepared.datasets[at]

    def column(self, name: str) -> Any:
        """One column of this row."""
        return self.prepared.columns[name][self.at]

    def fields(self) -> dict[str, Any]:
        """All columns of this row."""
        return {name: column[self.at] for name, column in self.prepared.columns.items()}


class PaymentsWork:
    """Collects verdicts and writes of one turn.

    Attributes:
        skipped: ids of row objects that are redeliveries.
        stored: payments that become versions, with their outcome.
        keys: keys to write, and to remember once they are written.
        began_ms: by the store's clock, before decisions were read; 0 while none can matter. Rulings are
            dated so: what a person decides while the turn is judged is later and stays in force, and the
            case is open for the version he could not know.
    """

    def __init__(self, judged: set[int]) -> None:
        self._judged = judged
        self._seen: set[int] = set()
        self.skipped: set[int] = set()
        self.decided = Decided()
        self.stored: list[tuple[Payment, Outcome]] = []
        self.keys: list[KeyRow] = []
        self.rulings: list[tuple[Payment, Ruling, int]] = []
        self.began_ms = 0

    def first_sight(self, row: Row) -> bool:
        """False for a redelivered row: judged before, or twice in this turn (a repeated forward)."""
        if row.position in self._judged or row.position in self._seen:
            self.skipped.add(id(row))
            self.decided.replayed += 1
            return False
        self._seen.add(row.position)
        return True

    def verdict(self, verdict: Verdict) -> None:
        """Note what became of a row."""
        self.decided.verdicts.append(verdict)

    def store(self, payment: Payment, outcome: Outcome) -> None:
        """Note a new version to write."""
        self.stored.append((payment, outcome))
        self.key(payment, outcome.value)

    def key(self, payment: Payment, outcome: str, alias_of: int = 0) -> None:
        """Note a key."""
        self.keys.append(
            (payment.home, payment.identity, payment.content, payment.row.position, outcome, alias_of)
        )

    def assemble(self, quarantine: Quarantine, topic: str) -> Decided:
        """The turn's writes in order: versions, keys, decisions, quarantine."""
        facts = self.decided.facts
        if self.stored:
            facts.append(_versions(self.stored, topic))
        if self.keys:
            facts.append(_keys(self.keys))
        if self.rulings:
            facts.append(_rulings(self.rulings))
        refused = [v for v in self.decided.verdicts if v.outcome is Outcome.QUARANTINED]
        if refused:
            facts.append(quarantine.fact(refused))
        return self.decided


def _versions(stored: Sequence[tuple[Payment, Outcome]], topic: str) -> Fact:
    """Rows of `payment_versions`."""
    payments = [payment for payment, _ in stored]
    return Fact(
        "payment_versions",
        {
            **{name: [p.column(name) for p in payments] for name in payments[0].prepared.columns},
            **lineage([payment.row for payment in payments], topic),
            "identity": [payment.identity for payment in payments],
            "content_hash": [payment.content for payment in payments],
            "outcome": [outcome.value for _, outcome in stored],
            "home": [payment.home for payment in payments],
            "id_namespace": [p.dataset.id_namespace if p.dataset else "" for p in payments],
        },
        positions_of([payment.row for payment in payments]),
    )


def remember(index: PaymentIndex, keys: Sequence[KeyRow]) -> None:
    """Add keys to the index, after they have been stored."""
    index.add(
        [home for home, *_ in keys],
        [identity for _, identity, *_ in keys],
        [Key(content, at) for _, _, content, at, *_ in keys],
    )


def _keys(keys: Sequence[KeyRow]) -> Fact:
    names = ("home", "identity", "content_hash", "position", "outcome", "alias_of")
    columns = {name: list(column) for name, column in zip(names, zip(*keys, strict=True), strict=True)}
    return Fact("payment_keys", columns, columns["position"])


def _rulings(rulings: Sequence[tuple[Payment, Ruling, int]]) -> Fact:
    rows = [
        ruling.row(payment.row.organization_id, payment.identity, payment.row.position, decided_ms)
        for payment, ruling, decided_ms in rulings
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return Fact("decisions", columns, positions_of([payment.row for payment, _, _ in rulings]))
