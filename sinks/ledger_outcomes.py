"""Outcomes the ledger holds, and rows stored without one: how a replay is recognised."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from schemas.identity import position
from sinks.arrow_results import arrow_table
from sinks.chunks import chunks

_FACTS: Final = ("payment_versions", "read_versions", "quarantine_rows")


def ledger_high(client: Client, topic: str, epoch: int, partition: int) -> int:
    """Highest position of this partition that has an outcome; -1 when none has.

    Rows forwarded from another partition keep their origin position and are not counted here.
    """
    rows = client.query(
        "SELECT maxOrNull(position) FROM ledger_rows"
        " WHERE topic = {topic:String} AND position BETWEEN {first:UInt64} AND {last:UInt64}",
        parameters=partition_bounds(topic, epoch, partition),
    ).result_rows
    return -1 if rows[0][0] is None else int(rows[0][0])


def ledger_next_offset(client: Client, topic: str, epoch: int, partition: int) -> int | None:
    """Offset after the last finished batch of this partition; None when none was finished."""
    rows = client.query(
        "SELECT maxOrNull(next_offset) FROM ledger_ranges"
        " WHERE topic = {topic:String} AND epoch = {epoch:UInt8} AND partition = {partition:UInt16}",
        parameters={"topic": topic, "epoch": epoch, "partition": partition},
    ).result_rows
    return None if rows[0][0] is None else int(rows[0][0])


def ledger_next_offsets(client: Client, topic: str, epoch: int) -> dict[int, int]:
    """Partition → offset after its last finished batch; partitions without one are left out."""
    rows = client.query(
        "SELECT partition, max(next_offset) FROM ledger_ranges"
        " WHERE topic = {topic:String} AND epoch = {epoch:UInt8} GROUP BY partition",
        parameters={"topic": topic, "epoch": epoch},
    ).result_rows
    return {int(row[0]): int(row[1]) for row in rows}


def ledger_outcomes(client: Client, topic: str, first_position: int, last_position: int) -> dict[int, str]:
    """First-stored outcome of every position in a range, both ends included."""
    return _outcomes(
        client,
        "position BETWEEN {first:UInt64} AND {last:UInt64}",
        {"topic": topic, "first": first_position, "last": last_position},
    )


def ledger_outcomes_of(client: Client, topic: str, positions: Iterable[int]) -> dict[int, str]:
    """First-stored outcome of the given positions (origin positions of forwarded rows)."""
    found: dict[int, str] = {}
    for wanted in chunks(positions):
        parameters = {"topic": topic, "positions": wanted}
        found.update(_outcomes(client, "position IN {positions:Array(UInt64)}", parameters))
    return found


def _outcomes(client: Client, condition: str, parameters: dict[str, Any]) -> dict[int, str]:
    table = arrow_table(
        client,
        "SELECT position, toString(argMin(outcome, stored_at)) AS outcome FROM ledger_rows"
        f" WHERE topic = {{topic:String}} AND {condition} GROUP BY position",
        parameters,
    )
    return dict(zip(table["position"].to_pylist(), table["outcome"].to_pylist(), strict=True))


@dataclass(frozen=True, slots=True)
class Orphan:
    """A row stored without its ledger row: the process died between the two inserts."""

    table: str
    position: int
    outcome: str
    identity: int
    content_hash: int
    reasons: Sequence[str] = ()
    """Why it was refused; empty for others."""


def orphans(
    client: Client,
    topic: str,
    epoch: int,
    partition: int,
    above: int,
    tables: Sequence[str] = _FACTS,
) -> dict[int, Orphan]:
    """Rows of a partition in fact or quarantine tables above a position, that have no ledger row.

    On a replay they keep the outcome they were stored with. Forwarded rows carry their origin's
    partition; ask for them with `orphans_of`.
    """
    bounds = partition_bounds(topic, epoch, partition)
    bounds["first"] = max(bounds["first"], above + 1)
    return _orphans(client, "position BETWEEN {first:UInt64} AND {last:UInt64}", bounds, tables)


def orphans_of(
    client: Client, topic: str, positions: Iterable[int], tables: Sequence[str] = _FACTS
) -> dict[int, Orphan]:
    """The same for given positions (origin positions of forwarded rows)."""
    found: dict[int, Orphan] = {}
    for wanted in chunks(positions):
        parameters = {"topic": topic, "positions": wanted}
        found.update(_orphans(client, "position IN {positions:Array(UInt64)}", parameters, tables))
    return found


def _orphans(
    client: Client, condition: str, parameters: dict[str, Any], tables: Sequence[str]
) -> dict[int, Orphan]:
    found: dict[int, Orphan] = {}
    for table in tables:
        quarantine = table == "quarantine_rows"
        outcome = "'quarantined'" if quarantine else "toString(argMin(outcome, stored_at))"
        content = "toUInt64(0)" if quarantine else "argMin(content_hash, stored_at)"
        reasons = "argMin(reasons, stored_at)" if quarantine else "[]"
        rows = client.query(
            f"SELECT position, {outcome}, argMin(identity, stored_at), {content}, {reasons}"
            f" FROM {_known(table)} WHERE topic = {{topic:String}} AND {condition} AND position NOT IN"
            f" (SELECT position FROM ledger_rows WHERE topic = {{topic:String}} AND {condition})"
            " GROUP BY position",
            parameters=parameters,
        ).result_rows
        found.update({row[0]: Orphan(table, *row) for row in rows})
    return found


def partition_bounds(topic: str, epoch: int, partition: int) -> dict[str, Any]:
    """Parameters `topic`, `first` and `last` for all positions of a partition."""
    return {
        "topic": topic,
        "first": position(epoch, partition, 0),
        "last": position(epoch, partition, (1 << 40) - 1),
    }


def _known(table: str) -> str:
    if table not in _FACTS:
        raise ValueError(f"no fact table: {table}")
    return table
