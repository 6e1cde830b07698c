"""Rows into records of the topic `payments`: personal fields replaced, originals sealed.

Rows of files, and refused rows that somebody corrected: both go through the same door.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from producers.connection import MAX_RECORD_BYTES
from producers.errors import RecordTooLarge
from producers.group import Record
from producers.tabular import TableRow, UnreadableRow
from schemas import headers
from schemas.cells import plain_text
from schemas.identity import homes_of, netstrings, payment_key
from schemas.outcomes import Code
from schemas.personal import Pseudonymizer, Sealer

_OVERHEAD_BYTES: Final = 16 * 1024
"""What headers and the record's own framing may take of the largest record."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a file come from: the lineage that every record of it carries.

    Attributes:
        source: the channel, `s3` for a bucket.
        source_ref: the file and its version.
        received_at: when the file was taken up, aware.
    """

    organization_id: str
    dataset_id: str
    id_namespace: str
    source: str
    source_ref: str
    received_at: datetime

    def headers(self) -> list[tuple[str, bytes]]:
        """The record headers that all rows of the file share."""
        received = self.received_at.astimezone(UTC).isoformat(timespec="milliseconds")
        values = {
            headers.ORGANIZATION_ID: self.organization_id,
            headers.DATASET_ID: self.dataset_id,
            headers.SOURCE: self.source,
            headers.SOURCE_REF: self.source_ref,
            headers.RECEIVED_AT: received.replace("+00:00", "Z"),
        }
        return [(name, value.encode()) for name, value in values.items()]


class RowRecords:
    """Makes records of rows. Nothing personal is in them but what is sealed."""

    def __init__(self, topic: str, pseudonymizer: Pseudonymizer, sealer: Sealer) -> None:
        """`topic` is the full name of the payments topic."""
        self.topic = topic
        self._pseudonymizer = pseudonymizer
        self._sealer = sealer

    def of(self, origin: Origin, rows: Sequence[TableRow | UnreadableRow], partitions: int) -> list[Record]:
        """The records of some rows, in order, with the partition of each identity's home."""
        shared = origin.headers()
        drafts = [
            self._readable(origin, row) if isinstance(row, TableRow) else self._unreadable(origin, row)
            for row in rows
        ]
        homes = homes_of([key for key, _, _ in drafts]) if drafts else ()
        return [
            Record(
                self.topic,
                key,
                value,
                [*shared, (headers.LINE, str(row.line).encode()), *extra],
                int(home) % partitions,
            )
            for row, (key, value, extra), home in zip(rows, drafts, homes, strict=True)
        ]

    def corrected(self, origin: Origin, line: int, cells: dict[str, Any], kept: Mapping[str, str]) -> Record:
        """The record of a row that was refused and is sent again; its partition is left to its key.

        Args:
            origin: the lineage that the row came with.
            line: its line there; 0 when it has none.
            cells: the row in plain; its personal values are replaced in place.
            kept: originals of values that stay replaced, see `Pseudonymizer.restore`.

        Raises:
            RecordTooLarge: it is longer than a record may be.
            TypeError: a value has no form in JSON (`orjson.JSONEncodeError`).
        """
        draft = self._protected(origin, line, cells, kept)
        if draft is None:
            raise RecordTooLarge("the row is longer than a record may be")
        key, value, extra = draft
        numbered = [(headers.LINE, str(line).encode())] if line else []
        return Record(self.topic, key, value, [*origin.headers(), *numbered, *extra])

    def _readable(self, origin: Origin, row: TableRow) -> "_Draft":
        """Key, value and own headers of a row."""
        draft = self._protected(origin, row.line, dict(row.cells), {})
        if draft is not None:
            return draft
        detail = "the row is longer than a record may be"
        return self._unreadable(origin, UnreadableRow(row.line, "", Code.TOO_LARGE, detail))

    def _protected(
        self, origin: Origin, line: int, cells: dict[str, Any], kept: Mapping[str, str]
    ) -> "_Draft | None":
        """The same of cells, which are changed in place; None when they do not fit a record."""
        originals = {**kept, **self._pseudonymizer.protect(origin.organization_id, cells)}
        value = orjson.dumps(cells)
        extra = [self._sealed(origin, orjson.dumps(originals))] if originals else []
        if len(value) + sum(len(data) for _, data in extra) > MAX_RECORD_BYTES - _OVERHEAD_BYTES:
            return None
        record_id = plain_text(cells.get("ID"))
        if record_id is None:
            return nameless_key(origin, line), value, extra
        return payment_key(origin.organization_id, origin.id_namespace, record_id).encode(), value, extra

    def _unreadable(self, origin: Origin, row: UnreadableRow) -> "_Draft":
        """The same for a row that has no cells: its text is only in the seal."""
        raw = row.raw.encode("utf-8", "surrogateescape" if _escaped(row.raw) else "surrogatepass")
        return (
            nameless_key(origin, row.line),
            b"{}",
            [(headers.UNREADABLE, row.code.encode()), self._sealed(origin, raw)],
        )

    def _sealed(self, origin: Origin, data: bytes) -> tuple[str, bytes]:
        return headers.SEALED, self._sealer.seal(origin.organization_id, data).encode()


_Draft = tuple[bytes, bytes, list[tuple[str, bytes]]]


def nameless_key(origin: Origin, line: int) -> bytes:
    """Key of a row without an id: by its line, so that such rows do not all meet in one partition."""
    return netstrings(origin.organization_id, origin.source_ref, str(line)).encode()


def _escaped(text: str) -> bool:
    """Whether all lone surrogates stand for bytes; UTF-16 files may have others."""
    return all("\udc80" <= letter <= "\udcff" for letter in text if "\ud800" <= letter <= "\udfff")
