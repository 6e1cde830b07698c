"""Questions about the quarantine: lists, counts, one row with what was done about it, sealed originals.

Values always go as parameters. Everything here may raise the driver's exceptions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.filters import chosen

COLUMNS: Final = (
    "topic", "position", "partition", "offset", "organization_id", "record_type", "record_id", "dataset_id",
    "source", "source_ref", "line", "reasons", "details", "state", "missing_kind", "missing_id",
    "received_at", "stored_at", "replay_of",
)  # fmt: skip
"""Columns of a listed row, in order; none holds a value of a row."""

_FILTERS: Final[dict[str, str]] = {
    "reason": "arrayExists(r -> r = {reason:String} OR startsWith(r, concat({reason:String}, ':')), reasons)",
    "dataset_id": "dataset_id = {dataset_id:String}",
    "organization_id": "organization_id = {organization_id:String}",
    "record_type": "record_type = {record_type:String}",
    "record_id": "record_id = {record_id:String}",
    "source_ref": "source_ref = {source_ref:String}",
    "source_refs": "source_ref IN {source_refs:Array(String)}",
    "line": "line = {line:UInt32}",
    "state": "state = {state:String}",
    "topic": "topic = {topic:String}",
    "position": "position = {position:UInt64}",
    "from_day": "received_at >= toDateTime64({from_day:Date32}, 3, 'UTC')",
    "to_day": "received_at < toDateTime64({to_day:Date32} + 1, 3, 'UTC')",
    "waits": "(missing_kind != '') = {waits:Bool}",
    "stored_until_ms": "stored_at <= fromUnixTimestamp64Milli({stored_until_ms:Int64}, 'UTC')",
}
"""Filter → condition. `reason` is a whole reason or its code alone; days are of `received_at` in UTC, both
ends included; `waits` tells rows that replay themselves when what they name is registered; `stored_until_ms`
is a moment of the server's clock, milliseconds since 1970. Without `state` or `position`, records that
another one of the same received row stands for are left out."""

Place = tuple[str, int]
"""Topic and position: they name a received row."""


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A refused row with its lineage and its original, encrypted for its organisation."""

    topic: str
    position: int
    organization_id: str
    record_type: str
    reasons: Sequence[str]
    details: str
    dataset_id: str
    source: str
    source_ref: str
    line: int
    received_at: datetime
    replay_of: int | None
    sealed: str


def refused(
    client: Client, filters: Mapping[str, Any], limit: int, after: Place | None = None
) -> list[dict[str, Any]]:
    """Refused rows in order of topic and position, each with the names of `COLUMNS`.

    Args:
        filters: see `_FILTERS`; those that are None are left out.
        after: place of the last row of the page before.

    Raises:
        ValueError: there is no such filter.
    """
    where, parameters = _where(filters, after)
    columns = ", ".join(COLUMNS)
    sql = f"SELECT {columns} FROM quarantine{where} ORDER BY topic, position LIMIT {{limit:UInt32}}"
    return list(client.query(sql, parameters={**parameters, "limit": limit}).named_results())


def places(client: Client, filters: Mapping[str, Any], limit: int, after: Place | None = None) -> list[Place]:
    """Topic and position of refused rows, as `refused`."""
    where, parameters = _where(filters, after)
    sql = f"SELECT topic, position FROM quarantine{where} ORDER BY topic, position LIMIT {{limit:UInt32}}"
    rows = client.query(sql, parameters={**parameters, "limit": limit}).result_rows
    return [(row[0], row[1]) for row in rows]


def count(client: Client, filters: Mapping[str, Any]) -> int:
    """How many refused rows there are; arguments as of `refused`."""
    where, parameters = _where(filters, None)
    rows = client.query(f"SELECT count() FROM quarantine{where}", parameters=parameters).result_rows
    return int(rows[0][0])


def server_ms(client: Client) -> int:
    """The moment by the server's clock, which `stored_at` is of; milliseconds since 1970."""
    return int(client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0])


def counts(client: Client, filters: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """Refused rows by day of reception (UTC), dataset and reason, newest day first, at most `limit` lines.

    A row with several reasons is counted under each of them. Keys: `day`, `organization_id`,
    `dataset_id`, `reason`, `rows`.
    """
    where, parameters = _where(filters, None)
    found = client.query(
        "SELECT toDate32(received_at) AS day, organization_id, dataset_id, arrayJoin(reasons) AS reason,"
        f" count() AS rows FROM quarantine{where} GROUP BY day, organization_id, dataset_id, reason"
        " ORDER BY day DESC, organization_id, dataset_id, rows DESC, reason LIMIT {limit:UInt32}",
        parameters={**parameters, "limit": limit},
    )
    return list(found.named_results())


def sealed_rows(client: Client, topic: str, positions: Sequence[int]) -> list[RefusedRow]:
    """The refused rows at these positions with their sealed originals, by position."""
    rows = client.query(
        "SELECT topic, position, organization_id, record_type, reasons, details, dataset_id, source,"
        " source_ref, line, received_at, replay_of, sealed FROM quarantine_rows FINAL"
        " WHERE topic = {topic:String} AND position IN {positions:Array(UInt64)} ORDER BY position",
        parameters={"topic": topic, "positions": list(positions)},
    ).result_rows
    return [RefusedRow(*row) for row in rows]


def replays_of(client: Client, organization_id: str, topic: str, position: int) -> list[dict[str, Any]]:
    """What became of the records that replay a row, first one first.

    Keys: `position`, `outcome`, `reasons`, `stored_at`.
    """
    found = client.query(
        "SELECT position, outcome, reasons, stored_at FROM ledger WHERE topic = {topic:String}"
        " AND organization_id = {organization:String} AND replay_of = {position:UInt64} ORDER BY stored_at",
        parameters={"organization": organization_id, "topic": topic, "position": position},
    )
    return list(found.named_results())


def _where(filters: Mapping[str, Any], after: Place | None) -> tuple[str, dict[str, Any]]:
    """The condition and its parameters."""
    conditions, wanted = chosen(filters, _FILTERS)
    if wanted.keys().isdisjoint({"state", "position"}):
        conditions.append("state != 'redelivered'")
    parameters = {name: str(value) if isinstance(value, date) else value for name, value in wanted.items()}
    if after is not None:
        conditions.append("(topic, position) > ({after_topic:String}, {after_position:UInt64})")
        parameters |= {"after_topic": after[0], "after_position": after[1]}
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), parameters
