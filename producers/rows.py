"""Rows into records of the topic `payments`: personal fields replaced, originals sealed.

Rows of files, and refused rows that somebody corrected: both go through the same door.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import orjson

from producers.errors import RecordTooLarge
from producers.group import Record
from producers.persons import Headers, Persons, picker
from producers.table_rows import PlainRows, Row, TableRow, UnreadableRow, lines_of
from schemas import headers
from schemas.cells import PLACEHOLDERS, plain_text
from schemas.fields import CUSTOM, PERSONAL
from schemas.identity import homes_of, netstrings
from schemas.outcomes import Code
from schemas.personal import Pseudonymizer, Sealer
from schemas.topics import MAX_ROW_BYTES

_LINEAGE_BYTES: Final = 16 * 1024
"""What the headers that say where a row comes from may take of the largest record."""
_FILES_REMEMBERED: Final = 4
_TOO_LONG: Final = "the row is longer than a record may be"


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
        self._persons: dict[tuple[str, tuple[str, ...]], Persons] = {}

    def of(self, origin: Origin, rows: Sequence[Row], partitions: int) -> Iterator[Record]:
        """The records of some rows, in order, with the partition of each identity's home."""
        if isinstance(rows, PlainRows):
            yield from self._of_plain(origin, rows, partitions)
        elif rows:
            lines = lines_of(rows)
            ids = [row.cells.get("ID") if isinstance(row, TableRow) else None for row in rows]
            shared = origin.headers()
            for row, (key, partition) in zip(rows, _places(origin, lines, ids, partitions), strict=True):
                value, own = self._draft(origin, row)
                if _fits(key, value, own):
                    numbered = (headers.LINE, b"%d" % row.line)
                    yield Record(self.topic, key, value, [*shared, numbered, *own], partition)
                else:
                    yield from self._too_long(origin, row.line, partitions)

    def _of_plain(self, origin: Origin, rows: PlainRows, partitions: int) -> Iterator[Record]:
        """The same for rows of a file without unknown columns; what millions of rows go through."""
        names, topic, shared = rows.names, self.topic, origin.headers()
        personal = tuple(name for name in names if name in PERSONAL)
        persons, pick = self._persons_of(origin.organization_id, personal), picker(names, personal)
        places = _places(origin, rows.lines, rows.column("ID"), partitions)
        replaced_of, dumps, line_header = persons.replaced, orjson.dumps, headers.LINE
        for line, texts, (key, partition) in zip(rows.lines, rows.cells, places, strict=True):
            replaced, seal = replaced_of(pick(texts))
            if "" in texts:
                cells = {name: text for name, text in zip(names, texts, strict=False) if text}
            else:
                cells = dict(zip(names, texts, strict=False))
            cells.update(replaced)
            value = dumps(cells)
            if _fits(key, value, seal):
                yield Record(topic, key, value, [*shared, (line_header, b"%d" % line), *seal], partition)
            else:
                yield from self._too_long(origin, line, partitions)

    def _persons_of(self, organization_id: str, personal: tuple[str, ...]) -> Persons:
        """The persons of an organisation's files with these personal columns."""
        key = organization_id, personal
        found = self._persons.get(key)
        if found is None:
            if len(self._persons) >= _FILES_REMEMBERED:
                self._persons.clear()
            found = Persons(self._pseudonymizer, self._sealer, organization_id, personal)
            self._persons[key] = found
        return found

    def _too_long(self, origin: Origin, line: int, partitions: int) -> Iterator[Record]:
        """The record that stands for a row that does not fit one."""
        return self.of(origin, [UnreadableRow(line, "", Code.TOO_LARGE, _TOO_LONG)], partitions)

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
        key = _key(netstrings(origin.organization_id, origin.id_namespace).encode(), cells.get("ID"))
        key = key or nameless_key(origin, line)
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
    return size <= MAX_ROW_BYTES - _LINEAGE_BYTES


def _places(
    origin: Origin, lines: Sequence[int], ids: Sequence[Any], partitions: int
) -> Iterator[tuple[bytes, int]]:
    """Key and partition of each row."""
    prefix = netstrings(origin.organization_id, origin.id_namespace).encode()
    keys = [_key(prefix, given) or nameless_key(origin, line) for given, line in zip(ids, lines, strict=True)]
    return zip(keys, (homes_of(keys) % np.uint32(partitions)).tolist(), strict=True)


def _key(prefix: bytes, given: Any) -> bytes | None:
    """`payment_key` of an ID, given the netstrings of its first parts; None for a row without one."""
    record_id = (
        given if type(given) is str and given.isalnum() and given not in PLACEHOLDERS else plain_text(given)
    )
    if record_id is None:
        return None
    text = record_id.encode()
    return b"%b%d:%b" % (prefix, len(text), text)


def nameless_key(origin: Origin, line: int) -> bytes:
    """Key of a row without an id: by its line, so that such rows do not all meet in one partition."""
    return netstrings(origin.organization_id, origin.source_ref, str(line)).encode()


def _escaped(text: str) -> bool:
    """Whether all lone surrogates stand for bytes; UTF-16 files may have others."""
    return all("\udc80" <= letter <= "\udcff" for letter in text if "\ud800" <= letter <= "\udfff")
