"""From a request to records of the topic `payments`: every payment becomes one, good or bad.

The verdict is given on the records' own bytes, with the validation of the workers, so that what a sender
is told is what will become of the row.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from api.db import Database
from api.parts import ApiParts
from api.payments import repository
from api.payments.body import parse
from api.payments.repository import Receipt
from api.payments.schemas import FieldFault, RejectedPayment
from producers.publisher import Record
from producers.rows import Origin, RowRecords
from schemas.faults import SENTENCES
from schemas.outcomes import Code
from schemas.payments import PaymentContext, PaymentValidator
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import PAYMENTS


@dataclass(frozen=True, slots=True)
class Taken:
    """A request as records, and what its sender is told."""

    receipt: Receipt
    records: list[Record]
    rejected: list[RejectedPayment]


class PaymentIntake:
    """Takes requests up. Blocks: for worker threads."""

    def __init__(self, parts: ApiParts, db: Database) -> None:
        settings = parts.settings
        self._db = db
        self._publisher = parts.publisher
        self._most = settings.max_payments
        self._rows = RowRecords(
            PAYMENTS.full_name(settings.topic_prefix),
            Pseudonymizer(settings.pseudonym_secret, settings.pseudonym_profile),
            Sealer(settings.seal_secret),
        )

    def take(self, organization_id: str, body: bytes) -> Taken:
        """Parse, claim a receipt, make records, judge them.

        Raises:
            ApiError: what `body.parse` and `repository.claim` raise.
            PublishError: the broker does not say how many partitions there are.
        """
        parsed = parse(body, self._most)
        partitions = self._publisher.partitions(self._rows.topic)
        content_hash = hashlib.sha256(body).hexdigest()
        sender, receipt = repository.claim(self._db, organization_id, parsed.dataset_id, content_hash)
        origin = Origin(
            organization_id,
            sender.dataset_id,
            sender.id_namespace,
            repository.SOURCE,
            receipt.id,
            receipt.claimed_at,
            sender.dataset_version,
        )
        records = list(self._rows.of(origin, parsed.rows, partitions))
        unreadable = [self._rows.given_up(organization_id, record) for record in records]
        return Taken(receipt, records, judge(records, unreadable, sender.context))

    def done(self, taken: Taken) -> None:
        """Record that the broker has acknowledged every record."""
        repository.done(self._db, taken.receipt, len(taken.records))


_VALIDATOR: Final = PaymentValidator()


def judge(
    records: Sequence[Record], unreadable: Sequence[tuple[Code, str] | None], context: PaymentContext
) -> list[RejectedPayment]:
    """Those of the records that will be refused for what they hold, in order.

    Args:
        unreadable: of each record why it has no cells, as code and detail; None for one that has them.
    """
    readable = [index for index, why in enumerate(unreadable) if why is None]
    values = [orjson.loads(records[index].value) for index in readable]
    verdict = _VALIDATOR.validate(values, [context] * len(values)) if values else None
    found = {
        index: [FieldFault(code=why[0], field=None, detail=why[1] or SENTENCES[why[0]])]
        for index, why in enumerate(unreadable)
        if why is not None
    }
    for at, errors in (verdict.errors if verdict else {}).items():
        found[readable[at]] = [
            FieldFault(code=error.code, field=error.field, detail=error.detail) for error in errors
        ]
    return [_rejected(index, found[index]) for index in sorted(found)]


def _rejected(index: int, faults: Sequence[FieldFault]) -> RejectedPayment:
    first, *further = faults
    return RejectedPayment(
        index=index, code=first.code, field=first.field, detail=first.detail, further=further
    )
