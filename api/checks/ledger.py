"""The rows of a dry run against the ledger: what a worker's index would say, and what they would match."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from api.store import Store
from producers.dry_judge import Finding, Judge
from producers.dry_rows import Terms, ValidRows
from producers.dry_run import tally
from schemas.identity import homes_of
from schemas.matching import Connection, MatchResult, match
from schemas.outcomes import Outcome
from schemas.versions import Identity, Sight, stored_identity
from sinks import dry_run as questions
from sinks.rulings import latest_decisions
from sinks.stored_versions import stored_payments

KEPT: Final = 1000
"""How many conflicts and hints are listed; all are counted."""


class StoredPast:
    """What ClickHouse holds of the identities of a file (`producers.dry_judge.Past`)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._contents: dict[int, set[int]] = {}

    def contents(self, rows: ValidRows) -> Mapping[int, Collection[int]]:
        """The contents judged so far, asked once for a batch.

        Raises:
            StoreAway: ClickHouse does not answer.
        """
        homes = map(int, homes_of([key.encode() for key in rows.keys])) if len(rows) else ()
        self._contents = self._store.ask(
            questions.judged_contents, dict(zip(rows.identities, homes, strict=True))
        )
        return self._contents

    def identities(self, wanted: Collection[int]) -> Mapping[int, Identity]:
        """The identities of the batch that differ from what is known of them.

        Raises:
            StoreAway: ClickHouse does not answer.
        """
        known = self._contents.keys() & set(wanted)
        if not known:
            return {}
        decisions = self._store.ask(latest_decisions, known)
        stored: dict[int, list[dict[str, object]]] = {identity: [] for identity in known}
        for fields in self._store.ask(stored_payments, known):
            stored[fields["identity"]].append(fields)
        return {
            identity: stored_identity(found, self._contents[identity], decisions.get(identity))
            for identity, found in stored.items()
        }


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A connection whose external id is almost the id of an unmatched row: reported, never matched."""

    line: int
    connection_id: str
    external_id: str


@dataclass(slots=True)
class LedgerReport:
    """What would become of a file beside what is stored.

    Attributes:
        conflicts: the first ones; `hints` likewise.
        matches: good rows by the result of their match.
        near: unmatched rows that have a near miss.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    conflicts: list[Finding] = field(default_factory=list)
    matches: Counter[MatchResult] = field(default_factory=Counter)
    hints: list[NearMiss] = field(default_factory=list)
    near: int = 0


class LedgerCheck:
    """Takes the good rows of one file in batches. Close it at the end."""

    def __init__(self, store: Store, terms: Terms, in_scope: Callable[[str], bool]) -> None:
        """`in_scope` says whether the dataset's payments may match connections of a project."""
        self.report = LedgerReport()
        self._store = store
        self._terms = terms
        self._in_scope = in_scope
        self._judge = Judge(terms.conflict_rule, StoredPast(store))

    def close(self) -> None:
        """Forget the file."""
        self._judge.close()

    def feed(self, rows: ValidRows, bad: int) -> None:
        """Judge and match the good rows of a batch, beside which there are `bad` ones.

        Raises:
            StoreAway: ClickHouse does not answer.
        """
        report = self.report
        findings = self._judge.judge(rows)
        tally(report.outcomes, len(rows), findings)
        report.outcomes[Outcome.QUARANTINED] += bad
        conflicts = [found for found in findings if found.sight is Sight.FURTHER]
        report.conflicts += conflicts[: max(0, KEPT - len(report.conflicts))]
        self._match(rows)

    def _match(self, rows: ValidRows) -> None:
        """The would-be match of every row, by one question for the batch."""
        meters, externals = rows.columns["meter_id"], rows.columns["external_id"]
        names = {name for column in (meters, externals) for name in column if name}
        equal: dict[str, list[Connection]] = {}
        near: dict[str, list[tuple[str, str]]] = {}
        found = self._store.ask(questions.connections_like, self._terms.organization_id, names)
        for row in found if names else ():
            if row["equal"]:
                one = Connection(row["id"], row["project_id"], row["valid_from"], row["valid_to"])
                equal.setdefault(row["sent"], []).append(one)
            else:
                near.setdefault(row["sent"], []).append((row["id"], row["external_id"]))
        for at, moment in enumerate(rows.columns["timestamp"]):
            sent = meters[at], externals[at]
            _, result = match(
                sent,
                lambda name: equal.get(name, ()),
                lambda connection: self._in_scope(connection.project_id),
                moment,
            )
            self.report.matches[result] += 1
            if result == "unmatched":
                self._hint(rows.lines[at], near.get(sent[0] or sent[1], ()))

    def _hint(self, line: int, near: Collection[tuple[str, str]]) -> None:
        self.report.near += bool(near)
        room = max(0, KEPT - len(self.report.hints))
        self.report.hints += [NearMiss(line, *connection) for connection in list(near)[:room]]
