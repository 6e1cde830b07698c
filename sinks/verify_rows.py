"""What the verifier asks about rows: those that one table has and another one lacks, in one slice.

Everything here may raise the driver's exceptions; `errors.classify` sorts them.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from schemas.identity import OFFSET_BITS, PARTITION_BITS
from sinks.verify import REACHING, Slice

FACT_TABLES: Final = ("payment_versions", "read_versions")
EARLIER_S: Final = 3600
"""Seconds before a slice's first ledger row from which on its versions are looked for, when it is new."""

SLICE: Final = "topic = {topic:String} AND position >= {low:UInt64} AND position < {high:UInt64}"
_OFFSET: Final = f"bitAnd(position, {(1 << OFFSET_BITS) - 1})"
FOUND: Final = f"SELECT count(), min({_OFFSET}), max({_OFFSET})"


class Found(NamedTuple):
    """Offsets of a slice that are wrong: how many, the first and the last of them."""

    number: int
    first: int
    last: int


def unjudged(client: Client, where: Slice, spans: Sequence[tuple[int, int]]) -> Found | None:
    """Offsets in `spans` (first, next) without a ledger row, copies and markers left out."""
    return found(
        client,
        "SELECT count(), min(offset), max(offset) FROM"
        " (SELECT arrayJoin(range(span.1, span.2)) AS offset FROM"
        " (SELECT arrayJoin({spans:Array(Tuple(UInt64, UInt64))}) AS span))"
        f" WHERE offset NOT IN (SELECT {_OFFSET} FROM ledger_rows WHERE {SLICE})"
        " AND offset NOT IN"
        f" (SELECT arrayJoin(arrayConcat(copies, markers)) FROM ledger_ranges WHERE {REACHING})",
        where,
        spans=list(spans),
    )


def strangers(client: Client, where: Slice) -> Found | None:
    """Ledger rows at offsets that their range calls a forwarded copy or a marker."""
    return found(
        client,
        f"{FOUND} FROM (SELECT DISTINCT position FROM ledger_rows WHERE {SLICE} AND {_OFFSET} IN"
        f" (SELECT arrayJoin(arrayConcat(copies, markers)) FROM ledger_ranges WHERE {REACHING}))",
        where,
    )


def judged_twice(client: Client, where: Slice) -> Found | None:
    """Positions whose ledger rows differ in outcome, identity or content."""
    return found(
        client,
        f"{FOUND} FROM (SELECT position FROM ledger_rows WHERE {SLICE} GROUP BY position"
        " HAVING uniqExact(outcome, identity, content_hash) > 1)",
        where,
    )


def without_version(client: Client, where: Slice, table: str, *, thorough: bool) -> Found | None:
    """Accepted and conflict rows that `table` has no version of, at that position and with that content."""
    return found(
        client,
        f"{FOUND} FROM ({verdicts()}) WHERE verdict IN ('accepted', 'conflict')"
        " AND (position, identity, content_hash) NOT IN"
        f" (SELECT position, identity, content_hash FROM {known_table(table)}"
        f" WHERE {SLICE}{recent(thorough)})",
        where,
    )


def without_quarantine_row(client: Client, where: Slice) -> Found | None:
    """Quarantined rows that `quarantine_rows` does not have."""
    return found(
        client,
        f"{FOUND} FROM ({verdicts()}) WHERE verdict = 'quarantined'"
        f" AND position NOT IN (SELECT position FROM quarantine_rows WHERE {SLICE})",
        where,
    )


def versions_unjudged(client: Client, where: Slice, table: str, *, thorough: bool) -> Found | None:
    """Versions in `table` without an accepted or conflict ledger row of the same content at their position.

    A second version at the position of another one counts as a record of its own, and no row brought it.
    """
    return found(
        client,
        f"{FOUND} FROM (SELECT DISTINCT position FROM {known_table(table)} WHERE {SLICE}{recent(thorough)}"
        " AND (position, identity, content_hash) NOT IN"
        f" (SELECT position, identity, content_hash FROM ledger_rows WHERE {SLICE}"
        " AND outcome IN ('accepted', 'conflict')))",
        where,
    )


def quarantine_unjudged(client: Client, where: Slice) -> Found | None:
    """Quarantine rows without a quarantined ledger row at their position."""
    return found(
        client,
        f"{FOUND} FROM (SELECT DISTINCT position FROM quarantine_rows WHERE {SLICE})"
        f" WHERE position NOT IN (SELECT position FROM ledger_rows WHERE {SLICE}"
        " AND outcome = 'quarantined')",
        where,
    )


def judged_among(client: Client, where: Slice, spans: Sequence[tuple[int, int]]) -> int:
    """How many offsets in `spans` (first, next) have a ledger row."""
    rows = client.query(
        f"SELECT uniqExact(position) FROM ledger_rows WHERE {SLICE}"
        f" AND arrayExists(span -> {_OFFSET} >= span.1 AND {_OFFSET} < span.2,"
        " {spans:Array(Tuple(UInt64, UInt64))})",
        parameters={**where.parameters(), "spans": list(spans)},
    ).result_rows
    return int(rows[0][0])


def first_row(client: Client, where: Slice) -> int | None:
    """Smallest offset of a slice that has a ledger row."""
    rows = client.query(
        f"SELECT minOrNull({_OFFSET}) FROM ledger_rows WHERE {SLICE}", parameters=where.parameters()
    ).result_rows
    return None if rows[0][0] is None else int(rows[0][0])


def rows_of(client: Client, where: Slice, table: str) -> Found | None:
    """Offsets of a slice that a table has rows of."""
    return found(
        client, f"{FOUND} FROM (SELECT DISTINCT position FROM {_positioned(table)} WHERE {SLICE})", where
    )


def farthest(client: Client, topic: str, table: str) -> dict[tuple[int, int], int]:
    """(epoch, partition) → greatest offset of the rows that a table has of a topic. Reads all of them."""
    rows = client.query(
        f"SELECT bitShiftRight(position, {OFFSET_BITS}) AS place, max({_OFFSET})"
        f" FROM {_positioned(table)} WHERE topic = {{topic:String}} GROUP BY place",
        parameters={"topic": topic},
    ).result_rows
    return {(row[0] >> PARTITION_BITS, row[0] & 0xFFFF): int(row[1]) for row in rows}


def verdicts(condition: str = "") -> str:
    """A query for the first verdict on each row of a slice, of ledger rows that meet a further condition."""
    return (
        "SELECT position, argMin(outcome, stored_at) AS verdict, argMin(identity, stored_at) AS identity,"
        f" argMin(content_hash, stored_at) AS content_hash FROM ledger_rows WHERE {SLICE}{condition}"
        " GROUP BY position"
    )


def found(client: Client, sql: str, where: Slice, **more: Any) -> Found | None:
    """What a query that begins with `FOUND` finds in a slice; None for nothing."""
    row = client.query(sql, parameters={**where.parameters(), **more}).result_rows[0]
    return Found(*map(int, row)) if row[0] else None


def recent(thorough: bool) -> str:
    """A condition: versions are stored shortly before their ledger row, unless a process died between."""
    if thorough:
        return ""
    return (
        " AND stored_at >= (SELECT min(stored_at) FROM ledger_rows WHERE"
        f" {SLICE}) - INTERVAL {EARLIER_S} SECOND"
    )


def known_table(table: str) -> str:
    """The name of a fact table, safe in a statement."""
    if table not in FACT_TABLES:
        raise ValueError(f"no fact table: {table}")
    return table


def _positioned(table: str) -> str:
    return table if table in ("ledger_rows", "quarantine_rows") else known_table(table)
