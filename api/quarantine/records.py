"""A refused row as the record that replays it: the same door, the original lineage, a signed `replay_of`."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from api.quarantine.errors import DoesNotFit, NeedsChanges
from api.quarantine.originals import PAYMENT, Opener, corrected
from producers.connection import MAX_RECORD_BYTES
from producers.places import nameless_key
from producers.publisher import Record, RecordTooLarge
from producers.rows import Origin, RowRecords
from schemas import headers
from schemas.identity import read_key
from schemas.origins import OriginSigner
from sinks.quarantine import RefusedRow

_ROOM_BYTES: Final = 16 * 1024
"""Of the largest record, what is left for headers that are added on the way."""


class ReplayRecords:
    """Makes the records of replays.

    Args:
        opener: opens originals.
        rows: replaces and seals personal values of payments, as the producers do.
        signer: signs `replay_of`.
    """

    def __init__(self, opener: Opener, rows: RowRecords, signer: OriginSigner) -> None:
        self._opener = opener
        self._rows = rows
        self._signer = signer

    def make(self, row: RefusedRow, changes: Mapping[str, Any], id_namespace: str) -> tuple[Record, bool]:
        """The record that replays a row, and whether its content differs from the row's.

        Its headers are made of the lineage that was stored, so that one header that could not be read is
        left behind. Its partition is that of the identity's home after the changes.

        Raises:
            SealUnopenable, NeedsChanges, DoesNotFit: see `api.quarantine.errors`.
            Invalid: see `corrected`.
        """
        original = self._opener.open(row)
        if original.unreadable and not changes:
            raise NeedsChanges
        origin = Origin(
            row.organization_id,
            row.dataset_id,
            id_namespace,
            row.source,
            row.source_ref,
            row.received_at,
        )
        if original.cells is None and not changes:
            return self._signed(row, self._plain(row, origin, {}, original.value)), False
        correction = corrected(original, row.record_type, changes)
        if row.record_type != PAYMENT:
            value = orjson.dumps(correction.cells) if correction.changed else original.value
            return self._signed(row, self._plain(row, origin, correction.cells, value)), correction.changed
        try:
            record = self._rows.corrected(origin, row.line, correction.cells, correction.kept)
        except RecordTooLarge:
            raise DoesNotFit from None
        return self._signed(row, record), correction.changed

    def _plain(self, row: RefusedRow, origin: Origin, cells: Mapping[str, Any], value: bytes) -> Record:
        """The record of a read, or of what is no JSON object."""
        device = cells.get("device_external_id")
        key = nameless_key(origin.organization_id, origin.source_ref, row.line)
        if isinstance(device, str):
            key = read_key(row.organization_id, device.strip()).encode()
        numbered = [(headers.LINE, str(row.line).encode())] if row.line else []
        return Record(row.topic, key, value, [*origin.headers(), *numbered])

    def _signed(self, row: RefusedRow, record: Record) -> Record:
        mark = self._signer.sign(headers.REPLAY_OF, row.organization_id, row.position)
        if (
            len(record.value) + sum(len(value) for _, value in record.headers)
            > MAX_RECORD_BYTES - _ROOM_BYTES
        ):
            raise DoesNotFit
        return record._replace(topic=row.topic, headers=[*record.headers, (headers.REPLAY_OF, mark)])
