"""Rows of a file as the streams would see them: personal fields replaced, validated, named and hashed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from producers.table_rows import Row, TableRow
from schemas.conflicts import DEFAULT_RULE
from schemas.faults import RowError
from schemas.fields import CUSTOM
from schemas.identity import hash64, payment_key
from schemas.outcomes import Code, reason
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Pseudonymizer


@dataclass(frozen=True, slots=True)
class Terms:
    """What a dataset says about the rows that come through it.

    Attributes:
        context: which fields its rows must have, and its default currency.
        organization_id: owner of the rows, in whose name personal fields are replaced.
        id_namespace: with the owner and the ID it makes the identity of a row.
        conflict_rule: see `schemas.conflicts.apply_conflict_rule`.
    """

    context: PaymentContext
    organization_id: str = ""
    id_namespace: str = ""
    conflict_rule: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_RULE)


@dataclass(frozen=True, slots=True)
class LineError:
    """One fault of a row. Nothing in it is a value of the row.

    Attributes:
        line: the physical line on which the row starts, counted from 1 with the header.
        field: the field with the fault; empty when the row could not be read.
    """

    line: int
    field: str
    code: Code
    detail: str

    @property
    def reason(self) -> str:
        """The fault as it would be stored: `code` or `code:FIELD`."""
        return reason(self.code, self.field or None)

    def to_json(self) -> dict[str, Any]:
        """Plain values, keys as in the attributes."""
        return asdict(self)


@dataclass(slots=True)
class ValidRows:
    """The good rows of a batch, in columns; every list has one entry for each.

    Attributes:
        columns: column name → values, as `schemas.payments.PaymentBatch.columns`.
        keys: record keys: identities in full.
        identities: hashes of the keys.
    """

    lines: list[int]
    columns: dict[str, list[Any]]
    content: list[int]
    keys: list[str]
    identities: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def fields(self, at: int) -> dict[str, Any]:
        """All columns of one row."""
        return {name: column[at] for name, column in self.columns.items()}


class Validation:
    """Judges rows by themselves, as `streams.payments_prepare` does with the records made of them.

    A row that reaches the limits of a record can only be a faulty one (the reader's own limits are lower),
    so no record is made of it here.
    """

    def __init__(self, terms: Terms, pseudonymizer: Pseudonymizer) -> None:
        self._terms = terms
        self._pseudonymizer = pseudonymizer
        self._validator = PaymentValidator()

    def __call__(self, rows: Sequence[Row]) -> tuple[ValidRows, list[list[LineError]]]:
        """The good rows of a batch, and of each bad one its faults, in the order of the file."""
        readable = [row for row in rows if isinstance(row, TableRow)]
        verdict = self._validator.validate(
            [self._protected(row) for row in readable], [self._terms.context] * len(readable)
        )
        lines = [readable[at].line for at in verdict.valid]
        keys = [
            payment_key(self._terms.organization_id, self._terms.id_namespace, record_id)
            for record_id in verdict.columns["id"]
        ]
        valid = ValidRows(lines, verdict.columns, verdict.content_hash, keys, [hash64(key) for key in keys])
        return valid, list(_errors(rows, verdict.errors))

    def _protected(self, row: TableRow) -> dict[str, Any]:
        """The row's cells with personal ones replaced; the row itself stays as it is."""
        cells: dict[str, Any] = {**row.cells}
        if CUSTOM in cells:
            cells[CUSTOM] = {**cells[CUSTOM]}
        self._pseudonymizer.protect(self._terms.organization_id, cells)
        return cells


def _errors(rows: Sequence[Row], faulty: Mapping[int, Sequence[RowError]]) -> Iterator[list[LineError]]:
    """The faults of each bad row; `faulty` counts the readable ones."""
    readable = 0
    for row in rows:
        if not isinstance(row, TableRow):
            yield [LineError(row.line, "", row.code, row.detail)]
            continue
        if readable in faulty:
            yield [LineError(row.line, fault.field, fault.code, fault.detail) for fault in faulty[readable]]
        readable += 1
