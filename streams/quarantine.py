"""Refused rows: sealed originals for whoever corrects them, reasons for everybody."""

from base64 import b64encode
from collections.abc import Sequence

import orjson

from schemas import headers
from schemas.outcomes import WAITS_FOR, Code
from schemas.personal import Sealer
from streams.rows import Row
from streams.turn import Fact, Verdict, lineage, positions_of


class Quarantine:
    """Builds the quarantine's rows of a turn.

    Args:
        sealer: encrypts originals per organisation, and knows what readers have signed.
        topic: full name of the topic.
        record_type: `payment` or `read`.
    """

    def __init__(self, sealer: Sealer, topic: str, record_type: str) -> None:
        self._sealer = sealer
        self._topic = topic
        self._record_type = record_type

    def fact(self, verdicts: Sequence[Verdict]) -> Fact:
        """The rows of `quarantine_rows`."""
        rows = [verdict.row for verdict in verdicts]
        missing = [_missing(verdict) for verdict in verdicts]
        return Fact(
            "quarantine_rows",
            {
                **lineage(rows, self._topic),
                "record_type": [self._record_type] * len(rows),
                "record_id": [verdict.record_id for verdict in verdicts],
                "identity": [verdict.identity for verdict in verdicts],
                "reasons": [verdict.reasons for verdict in verdicts],
                "details": [self._details(row) for row in rows],
                "missing_kind": [kind for kind, _ in missing],
                "missing_id": [name for _, name in missing],
                "sealed": [self._seal(row) for row in rows],
            },
            positions_of(rows),
        )

    def _details(self, row: Row) -> str:
        """What our reader said of a row that it gave up; what anybody else says is not repeated."""
        said = dict(row.record.headers).get(headers.UNREADABLE_DETAIL)
        return (self._sealer.signed(row.organization_id, said) or "") if said else ""

    def _seal(self, row: Row) -> str:
        """The record as it came, headers included, encrypted for its organisation."""
        original = {
            "key": _base64(row.record.key),
            "value": _base64(row.record.value),
            "headers": {name: _base64(value) for name, value in row.record.headers},
        }
        return self._sealer.seal(row.organization_id, orjson.dumps(original))


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def _missing(verdict: Verdict) -> tuple[str, str]:
    """Kind and name of the registry object that the row waits for; empty when none would cure it."""
    row = verdict.row
    for text in verdict.reasons:
        kind = WAITS_FOR.get(Code(text.split(":")[0]))
        if kind == "organizations":
            return kind, row.organization_id
        if kind == "datasets":
            return kind, row.dataset_id
        if kind == "devices":
            name = (row.value or {}).get("device_external_id")
            return kind, name.strip() if isinstance(name, str) else ""
    return "", ""
