"""Rows into records of the topic `payments`: personal fields replaced, originals sealed.

Rows of files, and refused rows that somebody corrected: both go through the same door.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from typing import Any, Final

import orjson

from producers.errors import RecordTooLarge
from producers.group import Record
from producers.header import Header
from producers.json_rows import json_rows
from producers.persons import Persons
from producers.places import key_of, nameless_key, places
from producers.table_rows import ColumnRows, Row, TableRow, UnreadableRow, lines_of
from schemas import headers
from schemas.fields import CUSTOM
from schemas.identity import netstrings
from schemas.outcomes import Code
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import MAX_ROW_BYTES

_LINEAGE_BYTES: Final = 16 * 1024
"""What the headers that say where a row comes from may take of the largest record."""
Headers = Sequence[tuple[str, bytes]]
_FILES_REMEMBERED: Final = 4
_FITS_BYTES: Final = 100_000
"""A key, a value and a seal up to this fit a record."""
_MOST_BYTES: Final = MAX_ROW_BYTES - _LINEAGE_BYTES
_TOO_LONG: Final = f"the row, with what of it is sealed, is longer than the {_MOST_BYTES:,} bytes of a record"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a file come from: the lineage that every record of it carries.

    Attributes:
        source: the channel, `s3` for a bucket.
        source_ref: the file and its version.
        received_at: when the file was taken up, aware.
        dataset_version: of the dataset in the registry; 0 if it is not known, or there is none.
    """

    organization_id: str
    dataset_id: str
    id_namespace: str
    source: str
    source_ref: str
    received_at: datetime
    dataset_version: int = 0

    @property
    def owner(self) -> tuple[str, str]:
        """Organisation and id namespace: the first parts of every identity in the file."""
        return self.organization_id, self.id_namespace

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
        if self.dataset_version:
            values[headers.DATASET_VERSION] = str(self.dataset_version)
        return [(name, value.encode()) for name, value in values.items()]


class RowRecords:
    """Makes records of rows. Nothing personal is in them but what is sealed."""

    def __init__(self, topic: str, pseudonymizer: Pseudonymizer, sealer: Sealer) -> None:
        """`topic` is the full name of the payments topic."""
        self.topic = topic
        self._pseudonymizer = pseudonymizer
        self._sealer = sealer
        self._persons: dict[tuple[str, Header], Persons] = {}

    def of(self, origin: Origin, rows: Sequence[Row], partitions: int) -> Iterable[Record]:
        """The records of some rows, in order, with the partition of each identity's home."""
        if not rows:
            return ()
        if isinstance(rows, ColumnRows):
            return self._of_columns(origin, rows, partitions)
        return self._of_rows(origin, rows, partitions)

    def _of_rows(self, origin: Origin, rows: Sequence[Row], partitions: int) -> Iterator[Record]:
        """One by one: rows that were changed, or that could not be read."""
        lines = lines_of(rows)
        ids = [row.cells.get("ID") if isinstance(row, TableRow) else None for row in rows]
        shared = origin.headers()
        keys, homes = places(origin.owner, origin.source_ref, lines, ids, partitions)
        for row, key, partition in zip(rows, keys, homes, strict=True):
            value, own = self._draft(origin, row)
            if _fits(key, value, own):
                numbered = (headers.LINE, b"%d" % row.line)
                yield Record(self.topic, key, value, [*shared, numbered, *own], partition)
            else:
                yield self._too_long(origin, row.line, partitions)

    def _of_columns(self, origin: Origin, rows: ColumnRows, partitions: int) -> Iterable[Record]:
        """The same column by column: what millions of rows go through."""
        names, known, columns = rows.header.names, rows.header.known, rows.columns
        persons, personal = self._persons_of(origin.organization_id, rows.header).of(columns)
        fields, customs, seals = zip(*persons, strict=True)
        plain = [at for at in range(len(names)) if at not in personal]
        values = json_rows(
            [(names[at], columns[at]) for at in plain if known[at]],
            fields,
            [(names[at], columns[at]) for at in plain if not known[at]],
            customs,
            plain=rows.plain,
        )
        keys, homes = places(origin.owner, origin.source_ref, rows.lines, rows.column("ID"), partitions)
        shared, name, sealed = origin.headers(), headers.LINE, headers.SEALED
        extras = [
            [*shared, (name, b"%d" % line), (sealed, seal)] if seal else [*shared, (name, b"%d" % line)]
            for line, seal in zip(rows.lines, seals, strict=True)
        ]
        parts = zip(repeat(self.topic), keys, values, extras, homes, strict=False)
        # Calling `Record` would be a step of Python for each row; this is none.
        records: Iterator[Record] = map(partial(tuple.__new__, Record), parts)
        if max(max(map(len, texts)) for texts in (keys, values, seals)) <= _FITS_BYTES:
            return records
        return [
            record
            if _fits(record.key, record.value, [(sealed, seal)])
            else self._too_long(origin, line, partitions)
            for record, seal, line in zip(records, seals, rows.lines, strict=True)
        ]

    def _persons_of(self, organization_id: str, header: Header) -> Persons:
        """The persons of an organisation's files with this header."""
        key = organization_id, header
        found = self._persons.get(key)
        if found is None:
            if len(self._persons) >= _FILES_REMEMBERED:
                self._persons.clear()
            found = Persons(self._pseudonymizer, self._sealer, organization_id, header)
            self._persons[key] = found
        return found

    def _too_long(self, origin: Origin, line: int, partitions: int) -> Record:
        """The record that stands for a row that does not fit one."""
        return next(self._of_rows(origin, [UnreadableRow(line, "", Code.TOO_LARGE, _TOO_LONG)], partitions))

    def given_up(self, organization_id: str, record: Record) -> tuple[Code, str] | None:
        """Why one of these records has no cells, as code and detail; None for a row that has its cells."""
        own = dict(record.headers)
        if headers.UNREADABLE not in own:
            return None
        detail = self._sealer.signed(organization_id, own[headers.UNREADABLE_DETAIL])
        return Code(own[headers.UNREADABLE].decode()), detail or ""

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
        originals = {**kept, **self._pseudonymizer.protect(origin.organization_id, cells)}
        seal = self._sealed(origin, orjson.dumps(originals)) if originals else []
        value = orjson.dumps(cells)
        key = key_of(netstrings(*origin.owner), cells.get("ID"))
        key = key or nameless_key(origin.organization_id, origin.source_ref, line)
        if not _fits(key, value, seal):
            raise RecordTooLarge(_TOO_LONG)
        numbered = [(headers.LINE, b"%d" % line)] if line else []
        return Record(self.topic, key, value, [*origin.headers(), *numbered, *seal])

    def _draft(self, origin: Origin, row: Row) -> tuple[bytes, Headers]:
        """Value and own headers of a row."""
        if isinstance(row, UnreadableRow):
            return self._unreadable(origin, row)
        cells = {**row.cells}
        if isinstance(custom := cells.get(CUSTOM), dict):
            cells[CUSTOM] = {**custom}
        originals = self._pseudonymizer.protect(origin.organization_id, cells)
        seal = self._sealed(origin, orjson.dumps(originals)) if originals else []
        return orjson.dumps(cells), seal

    def _unreadable(self, origin: Origin, row: UnreadableRow) -> tuple[bytes, Headers]:
        """The same for a row that has no cells: its text is only in the seal."""
        raw = row.raw.encode("utf-8", "surrogateescape" if _escaped(row.raw) else "surrogatepass")
        why = [
            (headers.UNREADABLE, row.code.encode()),
            (headers.UNREADABLE_DETAIL, self._sealer.sign(origin.organization_id, row.detail)),
        ]
        return b"{}", [*why, *self._sealed(origin, raw)]

    def _sealed(self, origin: Origin, data: bytes) -> Headers:
        return [(headers.SEALED, self._sealer.seal(origin.organization_id, data).encode())]


def _fits(key: bytes, value: bytes, own: Headers) -> bool:
    """Whether a row's key, value and own headers fit a record: then no worker finds it too large either."""
    size = len(key) + len(value)
    for _, data in own:
        size += len(data)
    return size <= _MOST_BYTES


def _escaped(text: str) -> bool:
    """Whether all lone surrogates stand for bytes; UTF-16 files may have others."""
    return all("\udc80" <= letter <= "\udcff" for letter in text if "\ud800" <= letter <= "\udfff")
