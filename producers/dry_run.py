"""The dry run: the verdict on every row of a file, with the code that judges what is sent, and nothing sent.

Memory does not grow with the file: errors are counted, handed on as they are found, and the first ones kept.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from producers.dry_judge import Finding, Judge
from producers.dry_rows import LineError, Terms, Validation, ValidRows
from producers.dry_warnings import column_warnings, near_warnings
from producers.errors import FileRefused
from producers.table_rows import ColumnRows, Remark, Row, TableRow
from schemas.fields import CUSTOM
from schemas.outcomes import Outcome
from schemas.personal import Pseudonymizer
from schemas.versions import Sight

KEPT: Final = 1000
"""How many errors, duplicates and conflicts a report lists; all are counted."""


@dataclass(slots=True)
class Report:
    """What would become of a file. Nothing in it is a value of a row.

    Attributes:
        file: name of the file, as the caller knows it.
        rows: rows received: ok + bad, and the sum of the outcomes.
        bad: rows that would be quarantined.
        file_error: the file cannot be read as a whole; no row would be received.
        errors: the first faults of rows; `faults` is how many there are.
        reasons: how many rows have each fault, as `code` or `code:FIELD`.
        outcomes: what would become of the rows if nothing was stored before.
        duplicates, conflicts: the first rows of these outcomes.
        unknown: names of columns that are no field of payments and have values.
        fields: fields that have values.
    """

    file: str
    profile: str
    rows: int = 0
    bad: int = 0
    file_error: Remark | None = None
    errors: list[LineError] = field(default_factory=list)
    faults: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    duplicates: list[Finding] = field(default_factory=list)
    conflicts: list[Finding] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    warnings: list[Remark] = field(default_factory=list)

    @property
    def ok(self) -> int:
        """Rows that pass the validation: accepted, duplicates and conflicts."""
        return self.rows - self.bad

    def to_json(self) -> dict[str, Any]:
        """The report in plain values (issue "Every way payments come in", point 7)."""
        error = self.file_error
        return {
            "file": self.file,
            "profile": self.profile,
            "rows": self.rows,
            "ok": self.ok,
            "bad": self.bad,
            "file_error": asdict(error) if error else None,
            "errors": [error.to_json() for error in self.errors],
            "errors_total": self.faults,
            "reasons": dict(sorted(self.reasons.items())),
            "outcomes": outcomes_json(self.outcomes),
            "duplicates": [duplicate_json(found) for found in self.duplicates],
            "conflicts": [conflict_json(found) for found in self.conflicts],
            "warnings": [asdict(remark) for remark in self._remarks()],
        }

    def _remarks(self) -> list[Remark]:
        """What is odd about the file and its columns."""
        return [*self.warnings, *column_warnings(self.unknown), *near_warnings(self.unknown, self.fields)]


def outcomes_json(outcomes: Counter[Outcome]) -> dict[str, int]:
    """All four outcomes with their counts."""
    return {outcome.value: outcomes[outcome] for outcome in Outcome}


def duplicate_json(found: Finding) -> dict[str, Any]:
    """A duplicate: its line, and that of what it repeats."""
    return {"line": found.line, "first_line": found.first_line}


def conflict_json(found: Finding) -> dict[str, Any]:
    """A conflict: its line, that of the first version, the fields that differ, the rule's decision."""
    return {
        "line": found.line,
        "first_line": found.first_line,
        "fields": list(found.differing),
        "decision": found.decision,
    }


class DryRun:
    """Takes the rows of one file in batches and keeps their verdicts in `report`. Close it at the end."""

    def __init__(
        self,
        file: str,
        terms: Terms,
        pseudonymizer: Pseudonymizer,
        *,
        kept: int = KEPT,
        on_error: Callable[[LineError], None] = lambda error: None,
    ) -> None:
        """`on_error` gets every fault as it is found; the report lists the first `kept` of them."""
        self.report = Report(file, terms.context.profile)
        self._kept = kept
        self._on_error = on_error
        self._validation = Validation(terms, pseudonymizer)
        self._judge = Judge(terms.conflict_rule)

    def __enter__(self) -> "DryRun":
        return self

    def __exit__(self, *_: object) -> None:
        self._judge.close()

    def feed(self, rows: Sequence[Row]) -> ValidRows:
        """Judge a batch, rows in the order of the file; returns the good ones."""
        known, unknown = _columns_of(rows)
        self.report.fields |= known
        self.report.unknown |= unknown
        valid, errors = self._validation(rows)
        for faults in errors:
            self._refused(faults)
        findings = self._judge.judge(valid)
        self.report.rows += len(rows)
        tally(self.report.outcomes, len(valid), findings)
        for found in findings:
            listed = self.report.conflicts if found.sight is Sight.FURTHER else self.report.duplicates
            if len(listed) < self._kept:
                listed.append(found)
        return valid

    def read(self, batches: Iterable[Sequence[Row]]) -> Report:
        """Judge a whole file; a file-level error, raised while its rows are read, is told in the report."""
        try:
            for rows in batches:
                self.feed(rows)
        except FileRefused as refusal:
            self.refuse(refusal)
        return self.report

    def refuse(self, refusal: FileRefused) -> None:
        """Note that the file as a whole is refused."""
        self.report.file_error = Remark(refusal.code.value, refusal.detail)

    def _refused(self, faults: Sequence[LineError]) -> None:
        report = self.report
        report.bad += 1
        report.outcomes[Outcome.QUARANTINED] += 1
        report.faults += len(faults)
        report.reasons.update({fault.reason for fault in faults})
        report.errors += faults[: max(0, self._kept - len(report.errors))]
        for fault in faults:
            self._on_error(fault)


def tally(outcomes: Counter[Outcome], rows: int, findings: Sequence[Finding]) -> None:
    """Count the outcomes of good rows, of which these are not the first of their identity."""
    outcomes[Outcome.ACCEPTED] += rows - len(findings)
    outcomes.update(found.sight.outcome for found in findings)


def _columns_of(rows: Sequence[Row]) -> tuple[set[str], set[str]]:
    """Fields, and names of unknown columns, in which some rows have a text."""
    found: tuple[set[str], set[str]] = set(), set()
    if isinstance(rows, ColumnRows):
        header = rows.header
        for name, known, texts in zip(header.names, header.known, rows.columns, strict=True):
            if any(texts):
                found[not known].add(name)
        return found
    for row in rows:
        if isinstance(row, TableRow):
            found[0].update(row.cells)
            found[1].update(row.cells.get(CUSTOM, ()))
    return found
