"""Rows of a file as the streams would see them: personal fields replaced, validated, named and hashed."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from producers.rows import Origin, RowRecords
from producers.table_rows import Row, lines_of
from schemas.conflicts import DEFAULT_RULE
from schemas.identity import hash64, payment_key
from schemas.outcomes import Code, reason
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Pseudonymizer, Sealer


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
    """Judges rows by themselves: by the records that would be made of them, as the workers do."""

    def __init__(self, terms: Terms, pseudonymizer: Pseudonymizer) -> None:
        self._terms = terms
        # what is sealed here is measured and thrown away, so any key will do
        self._records = RowRecords("", pseudonymizer, Sealer(secrets.token_bytes(32)))
        self._origin = Origin(terms.organization_id, "", terms.id_namespace, "", "", datetime.now(UTC))
        self._validator = PaymentValidator()

    def __call__(self, rows: Sequence[Row]) -> tuple[ValidRows, list[list[LineError]]]:
        """The good rows of a batch, and of each bad one its faults, in the order of the file."""
        terms = self._terms
        lines = lines_of(rows)
        faults: dict[int, list[LineError]] = {}
        readable: list[int] = []
        values: list[dict[str, Any]] = []
        for at, record in enumerate(self._records.of(self._origin, rows, 1)):
            if (given_up := self._records.given_up(terms.organization_id, record)) is not None:
                faults[at] = [LineError(lines[at], "", *given_up)]
            else:
                readable.append(at)
                values.append(orjson.loads(record.value))
        verdict = self._validator.validate(values, [terms.context] * len(values))
        for index, errors in verdict.errors.items():
            at = readable[index]
            faults[at] = [LineError(lines[at], error.field, error.code, error.detail) for error in errors]
        keys = [
            payment_key(terms.organization_id, terms.id_namespace, record_id)
            for record_id in verdict.columns["id"]
        ]
        valid = ValidRows(
            [lines[readable[index]] for index in verdict.valid],
            verdict.columns,
            verdict.content_hash,
            keys,
            [hash64(key) for key in keys],
        )
        return valid, [faults[at] for at in sorted(faults)]
