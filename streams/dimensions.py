"""Registry topics into ClickHouse: every version of every object, for the views to match against."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
import structlog

from schemas.registry import RegistryMessageError, parse
from schemas.topics import REGISTRY_KINDS, RegistryKind, kinds_by_topic
from sinks import tables
from sinks.errors import Refused
from streams.store import Lease, Store
from streams.transport.batch import Batch, Record

log = structlog.get_logger(__name__)

TABLES: Final = {kind: f"{kind.removesuffix('s')}_versions" for kind in REGISTRY_KINDS}
Placed = tuple[int, dict[str, Any]]
"""Offset of a message and its columns."""


class Dimensions:
    """Writes registry messages. The table keeps one row per id and version, so a replay changes nothing."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._kinds = kinds_by_topic(prefix)

    def write(self, batch: Batch, lease: Lease) -> None:
        """Store one batch of a registry topic.

        Raises:
            Abandoned: the partition was given up meanwhile.
        """
        kind = self._kinds[batch.topic]
        rows = [
            (record.offset, row)
            for record in batch.records
            if (row := _row(kind, record, batch.topic)) is not None
        ]
        if rows:
            self._insert(TABLES[kind], rows, batch.topic, lease)

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


def _row(kind: RegistryKind, record: Record, topic: str) -> dict[str, Any] | None:
    """Columns of one message; None, and a log line, when it is not one of ours."""
    if record.value is None:
        return None
    try:
        given = parse(kind, record.value).model_dump()
    except RegistryMessageError as exc:
        log.error("registry_message_refused", topic=topic, offset=record.offset, error=str(exc))
        return None
    if "conflict_rule" in given:
        given["conflict_rule"] = orjson.dumps(given["conflict_rule"]).decode()
    # a text that is absent is empty; only columns of numbers and times know NULL
    return {
        field.name: "" if given[field.name] is None and not field.nullable else given[field.name]
        for field in tables.SCHEMAS[TABLES[kind]]
    }
