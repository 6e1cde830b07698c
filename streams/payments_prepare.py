"""Payments, first half: decode, resolve, pseudonymise, validate, hash. Needs no memory of other rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.identity import hash64, homes_of, payment_key
from schemas.outcomes import reason
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Pseudonymizer
from streams.registry import Dataset
from streams.resolve import Resolver
from streams.rows import Row, RowReader
from streams.transport.batch import Batch

NO_DATASET = PaymentContext("api")


@dataclass(slots=True)
class PreparedPayments:
    """A batch of payments, columns of the valid rows beside it.

    Attributes:
        valid: indexes into `rows` of the valid rows; all lists below have one entry for each.
        columns: column name → values, as `PaymentBatch.columns`.
        keys: record keys (identities in full).
        homes: home of each.
    """

    batch: Batch
    rows: list[Row]
    valid: list[int]
    columns: dict[str, list[Any]]
    content: list[int]
    keys: list[str]
    identities: list[int]
    homes: npt.NDArray[np.uint32]
    datasets: list[Dataset | None]


class PreparePayments:
    """Prepares batches of the payments topic."""

    def __init__(
        self,
        reader: RowReader,
        resolver: Resolver,
        pseudonymizer: Pseudonymizer,
    ) -> None:
        self._reader = reader
        self._resolver = resolver
        self._pseudonymizer = pseudonymizer
        self._validator = PaymentValidator()

    def __call__(self, batch: Batch) -> PreparedPayments:
        """Prepare one batch. Blocks while an unknown name is looked up in the registry."""
        rows = self._reader.read(batch)
        self._resolver.check(rows)
        good = [index for index, row in enumerate(rows) if not row.reasons]
        datasets = [self._dataset(rows[index]) for index in good]
        values = [self._protected(rows[index]) for index in good]
        verdict = self._validator.validate(
            values, [dataset.context if dataset else NO_DATASET for dataset in datasets]
        )
        for at, faults in verdict.errors.items():
            rows[good[at]].reasons.extend(reason(fault.code, fault.field) for fault in faults)
        valid = [good[at] for at in verdict.valid]
        kept = [datasets[at] for at in verdict.valid]
        keys = [
            payment_key(rows[index].organization_id, dataset.id_namespace if dataset else "", record_id)
            for index, dataset, record_id in zip(valid, kept, verdict.columns["id"], strict=True)
        ]
        return PreparedPayments(
            batch,
            rows,
            valid,
            verdict.columns,
            verdict.content_hash,
            keys,
            [hash64(key) for key in keys],
            homes_of([key.encode() for key in keys]),
            kept,
        )

    def _dataset(self, row: Row) -> Dataset | None:
        return (
            self._resolver.registry.dataset(row.organization_id, row.dataset_id) if row.dataset_id else None
        )

    def _protected(self, row: Row) -> dict[str, Any]:
        value = row.value or {}
        self._pseudonymizer.protect(row.organization_id, value)
        return value
