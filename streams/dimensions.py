"""Registry topics into ClickHouse: every version of every object, for the views to match against."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final

import orjson
import structlog

from schemas.topics import REGISTRY
from sinks import tables
from sinks.errors import Refused
from streams.store import Lease, Store
from streams.transport.batch import Batch, Record

log = structlog.get_logger(__name__)

TABLES: Final = {kind: f"{kind.removesuffix('s')}_versions" for kind in REGISTRY}
_TEXT_LISTS: Final = frozenset({"programme_ids", "project_ids"})
Placed = tuple[int, dict[str, Any]]
"""Offset of a message and its columns."""
_TIMES: Final = frozenset({"changed_at", "onboarded_at", "valid_from", "valid_to"})


class Dimensions:
    """Writes registry messages. The table keeps one row per id and version, so a replay changes nothing."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._tables = {spec.full_name(prefix): TABLES[kind] for kind, spec in REGISTRY.items()}

    def write(self, batch: Batch, lease: Lease) -> None:
        """Store one batch of a registry topic.

        Raises:
            Abandoned: the partition was given up meanwhile.
        """
        table = self._tables[batch.topic]
        rows = [
            (record.offset, row)
            for record in batch.records
            if (row := _row(table, record, batch.topic)) is not None
        ]
        if rows:
            self._insert(table, rows, batch.topic, lease)

    def _insert(self, table: str, rows: Sequence[Placed], topic: str, lease: Lease) -> None:
        """Insert; refused rows are halved until they stand alone, and are named and skipped."""
        try:
            self._store.insert(table, lambda: tables.batch_of_rows(table, [row for _, row in rows]), lease)
        except Refused as exc:
            if len(rows) == 1:
                log.error("registry_message_refused", topic=topic, offset=rows[0][0], error=str(exc))
                return
            middle = len(rows) // 2
            self._insert(table, rows[:middle], topic, lease)
            self._insert(table, rows[middle:], topic, lease)


def _row(table: str, record: Record, topic: str) -> dict[str, Any] | None:
    """Columns of one message; None, and a log line, when it is not one of ours."""
    if record.value is None:
        return None
    try:
        value = orjson.loads(record.value)
        return {
            field.name: _cell(
                field.name, value.get(field.name), nullable=field.nullable, number=_is_number(field.type)
            )
            for field in tables.SCHEMAS[table]
        }
    except (ValueError, TypeError, AttributeError, OverflowError) as exc:
        log.error("registry_message_refused", topic=topic, offset=record.offset, error=type(exc).__name__)
        return None


def _is_number(kind: Any) -> bool:
    return str(kind) in {"uint64", "bool", "double"}


def _cell(name: str, value: Any, *, nullable: bool, number: bool) -> Any:
    if name in _TEXT_LISTS:
        return list(value or ())
    if name in _TIMES:
        return datetime.fromisoformat(value) if value else None
    if name == "commissioned_on":
        return date.fromisoformat(value) if value else None
    if name == "conflict_rule":
        return orjson.dumps(value).decode() if value is not None else ""
    if number:
        return value
    return value if value is not None or nullable else ""


def full_names(prefix: str) -> Sequence[str]:
    """Full names of the registry topics."""
    return [spec.full_name(prefix) for spec in REGISTRY.values()]
