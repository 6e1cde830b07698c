"""Records into rows: lineage from the headers, a JSON object from the value. Decides nothing."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from schemas import headers
from schemas.cells import has_control_character
from schemas.identity import position
from schemas.json_members import repeated_in, told
from schemas.origins import OriginSigner
from schemas.outcomes import Code, reason
from schemas.topics import MAX_ROW_BYTES
from streams.transport.batch import Batch, Record

MAX_HEADER_BYTES: Final = 4096
_EARLIEST_MS: Final = -2_208_988_800_000  # 1900, the first year a DateTime64 holds
_LATEST_MS: Final = 10_413_792_000_000  # 2300


@dataclass(slots=True)
class Row:
    """One received row before any verdict.

    Attributes:
        position: where it was received; for a forwarded row the position of its origin.
        value: the JSON object, None when there is none (then `reasons` says why).
        dataset_version: of the dataset: before it is resolved the one its producer knew, then the one
            under which the row is judged; 0 for none.
        reasons: faults found so far.
    """

    record: Record
    position: int
    forwarded: bool
    organization_id: str
    dataset_id: str
    source: str
    source_ref: str
    line: int
    received_ms: int
    replay_of: int | None
    value: dict[str, Any] | None
    dataset_version: int = 0
    reasons: list[str] = field(default_factory=list)


class RowReader:
    """Reads the records of one topic's batches.

    Args:
        epoch: epoch of the topic, part of every position.
        signer: opens the origin of forwarded records.
        condemned: positions of rows that must not be parsed: processes died of them.
    """

    def __init__(self, epoch: int, signer: OriginSigner, condemned: Container[int] = ()) -> None:
        self._epoch = epoch
        self._signer = signer
        self._condemned = condemned
        self._last: tuple[Any, str] = (None, "")

    def read(self, batch: Batch) -> list[Row]:
        """One row per record, in order; a fault never stops the others."""
        base = position(self._epoch, batch.partition, 0)
        rows = [self._row(record, base + record.offset) for record in batch.records]
        _refuse_repeated(rows)
        return rows

    def _row(self, record: Record, at: int) -> Row:
        value = self._value(record, at)
        row = Row(
            record, at, False, "", "", "topic", "", 0, record.timestamp, None,
            value if isinstance(value, dict) else None,
        )  # fmt: skip
        if isinstance(value, Code):
            row.reasons.append(reason(value))
        if record.headers == self._last[0]:
            row.organization_id = self._last[1]
        elif record.headers:
            try:
                self._lineage(row, _once(record.headers, row))
            except (ValueError, OverflowError):
                if reason(Code.BAD_HEADER) not in row.reasons:
                    row.reasons.append(reason(Code.BAD_HEADER))
            if len(record.headers) == 1 and not row.reasons:
                # most direct publishers send the organisation and nothing else, row after row
                self._last = (record.headers, row.organization_id)
        return row

    def _value(self, record: Record, at: int) -> dict[str, Any] | Code:
        if at in self._condemned:
            return Code.KILLED_WORKER
        return Code.TOO_LARGE if _size(record) > MAX_ROW_BYTES else _json_object(record.value)

    def _lineage(self, row: Row, given: dict[str, bytes]) -> None:
        get = given.get
        if any(given[name] is None or len(given[name]) > MAX_HEADER_BYTES for name in _KNOWN & given.keys()):
            raise ValueError("header without a value, or too long")
        row.organization_id = _name(get(headers.ORGANIZATION_ID, b""))
        if len(given) == 1:
            return
        row.dataset_id = _name(get(headers.DATASET_ID, b""))
        if version := get(headers.DATASET_VERSION):
            row.dataset_version = _version(version)
        row.source = get(headers.SOURCE, b"topic").decode()
        row.source_ref = get(headers.SOURCE_REF, b"").decode()
        if line := get(headers.LINE):
            row.line = _line(line)
        if received := get(headers.RECEIVED_AT):
            row.received_ms = _utc_ms(received)
        if replay := get(headers.REPLAY_OF):
            row.replay_of = self._signer.open(headers.REPLAY_OF, row.organization_id, replay)
        if origin := get(headers.ORIGIN):
            row.position = self._signer.open(headers.ORIGIN, row.organization_id, origin)
            row.forwarded = True
        if unreadable := get(headers.UNREADABLE):
            row.reasons.append(reason(_code(unreadable)))
            row.value = None


_KNOWN: Final = headers.ALL - {headers.SEALED}
_OURS: Final = frozenset({headers.ORIGIN, headers.REPLAY_OF, headers.RECEIVED_AT})
"""Headers that a worker adds when it sends a row on or again: the row is no larger for that."""


def _size(record: Record) -> int:
    size = len(record.value or b"") + len(record.key or b"")
    given = ((name, value) for name, value in record.headers if name not in _OURS)
    return size + sum(len(name) + len(value or b"") for name, value in given)


def _json_object(value: bytes | None) -> dict[str, Any] | Code:
    """The object, or why there is none. Each record by itself: joined text could shift rows."""
    try:
        loaded = orjson.loads(value or b"")
    except (orjson.JSONDecodeError, RecursionError):
        return Code.NOT_JSON
    return loaded if isinstance(loaded, dict) else Code.NOT_OBJECT


def _refuse_repeated(rows: Sequence[Row]) -> None:
    """Take the value from rows in whose object a member stands twice."""
    read = [row for row in rows if row.value is not None]
    texts = [row.record.value or b"" for row in read]
    for at, name in repeated_in(texts, [row.value or {} for row in read]).items():
        row = read[at]
        row.value = None
        row.reasons.append(reason(Code.REPEATED_MEMBER, told(name)))


def _once(given: Sequence[tuple[str, bytes]], row: Row) -> dict[str, bytes]:
    """Headers by name, without those of ours that stand there twice: which one counts, nobody can say."""
    found = dict(given)
    if len(found) != len(given):
        counts = Counter(name for name, _ in given if name in headers.ALL)
        twice = {name for name, count in counts.items() if count > 1}
        if twice:
            row.reasons.append(reason(Code.BAD_HEADER))
        found = {name: value for name, value in found.items() if name not in twice}
    return found


def _name(value: bytes) -> str:
    """An identifying text; others ask SQL for it, which takes no NUL."""
    text = value.decode()
    if has_control_character(text):
        raise ValueError("control character in an identifying header")
    return text


def _version(value: bytes) -> int:
    version = int(value)
    if not 0 <= version < 1 << 62:
        raise ValueError("version out of range")
    return version


def _line(value: bytes) -> int:
    line = int(value)
    if not 0 <= line < 1 << 32:
        raise ValueError("line out of range")
    return line


def _utc_ms(value: bytes) -> int:
    moment = datetime.fromisoformat(value.decode())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    found = int(moment.timestamp() * 1000)
    if not _EARLIEST_MS <= found < _LATEST_MS:
        raise ValueError("moment out of range")
    return found


def _code(value: bytes) -> Code:
    text = value.decode()
    return Code(text) if text in Code.__members__.values() else Code.UNREADABLE_ROW
