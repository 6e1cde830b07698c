"""Questions the API asks: receipts, the ledger, the verification of a connection, readiness.

Values always go as parameters. Everything here may raise the driver's exceptions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.filters import chosen
from sinks.migrate import applied_migrations, migrations

_OUTCOMES: Final = ("accepted", "duplicate", "conflict", "quarantined")

_CURRENT: Final = """
SELECT
    if(countIf(replay_of IS NOT NULL) > 0,
        argMinIf(outcome, (stored_at, position), replay_of IS NOT NULL),
        argMin(outcome, position)) AS current,
    if(countIf(replay_of IS NOT NULL) > 0,
        argMinIf(reasons, (stored_at, position), replay_of IS NOT NULL),
        argMin(reasons, position)) AS current_reasons
FROM ledger
WHERE organization_id = {organization:String} AND dataset_id = {dataset:String}
    AND source_ref IN {refs:Array(String)}
    AND (topic, position) NOT IN (
        SELECT topic, assumeNotNull(replay_of) FROM ledger_rows
        WHERE organization_id = {organization:String} AND replay_of IS NOT NULL)
GROUP BY source_ref, line, if(line = 0, ifNull(replay_of, position), 0)
"""
"""Outcome of each received row: a redelivery of a line is no received row, so its first record speaks.
A replay from quarantine speaks for the row it replays, the last one of a chain for all before it; of a
replay that was sent twice the first one stored does. Positions do not order a chain: a corrected id may
lie in another partition. Rows without a line are told apart by position."""

_FILTERS: Final[dict[str, str]] = {
    "organization_id": "organization_id = {organization_id:String}",
    "organization_ids": "organization_id IN {organization_ids:Array(String)}",
    "dataset_id": "dataset_id = {dataset_id:String}",
    "record_type": "record_type = {record_type:String}",
    "record_id": "record_id = {record_id:String}",
    "source_ref": "source_ref = {source_ref:String}",
    "source_refs": "source_ref IN {source_refs:Array(String)}",
    "line": "line = {line:UInt32}",
    "outcome": "outcome = {outcome:String}",
    "topic": "topic = {topic:String}",
    "partition": "partition = {partition:UInt16}",
    "offset": "offset = {offset:UInt64}",
    "position": "position = {position:UInt64}",
}

_LEDGER_COLUMNS: Final = (
    "organization_id, record_type, record_id, content_hash, outcome, reasons, dataset_id, source, source_ref,"
    " line, topic, partition, offset, received_at, stored_at, replay_of, identity, position,"
    " matched_connection_id"
)


def outcome_counts(
    client: Client, organization_id: str, dataset_id: str, source_refs: Sequence[str]
) -> dict[str, int]:
    """Received rows of one dataset's files or requests, by current outcome.

    Keys: `received` and the four outcomes, which add up to it.
    """
    rows = client.query(
        f"SELECT current, count() FROM ({_CURRENT}) GROUP BY current",
        parameters={"organization": organization_id, "dataset": dataset_id, "refs": list(source_refs)},
    ).result_rows
    found = dict(rows)
    counts = {outcome: int(found.get(outcome, 0)) for outcome in _OUTCOMES}
    return {"received": sum(counts.values()), **counts}


def reason_counts(
    client: Client, organization_id: str, dataset_id: str, source_refs: Sequence[str]
) -> dict[str, int]:
    """How many received rows are quarantined for each reason; a row may have several."""
    rows = client.query(
        "SELECT reason, count() FROM"
        f" (SELECT arrayJoin(current_reasons) AS reason FROM ({_CURRENT}) WHERE current = 'quarantined')"
        " GROUP BY reason ORDER BY count() DESC, reason",
        parameters={"organization": organization_id, "dataset": dataset_id, "refs": list(source_refs)},
    ).result_rows
    return {row[0]: int(row[1]) for row in rows}


def ledger(
    client: Client,
    filters: Mapping[str, Any],
    limit: int = 100,
    after: tuple[str, int, str] | tuple[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Ledger rows in order of topic and position; with `source_refs` in the order of those first.

    Args:
        filters: see `_FILTERS`; those that are None are left out. Callers that may not see everything
            must give `organization_id` or `organization_ids`.
        after: topic and position of the last row of the page before, with `source_refs` its
            `source_ref` too.

    Raises:
        ValueError: there is no such filter.
    """
    conditions, wanted = chosen(filters, _FILTERS)
    ranked = "indexOf({source_refs:Array(String)}, source_ref), " if "source_refs" in wanted else ""
    if after is not None:
        begin = "indexOf({source_refs:Array(String)}, {after_ref:String}), " if ranked else ""
        conditions.append(
            f"({ranked}topic, position) > ({begin}{{after_topic:String}}, {{after_position:UInt64}})"
        )
        wanted |= {"after_topic": after[0], "after_position": after[1]}
        wanted |= {"after_ref": after[-1]} if ranked else {}
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = f" ORDER BY {ranked}topic, position LIMIT {{limit:UInt32}}"
    sql = f"SELECT {_LEDGER_COLUMNS} FROM ledger{where}{order}"
    return list(client.query(sql, parameters={**wanted, "limit": limit}).named_results())


def verification(client: Client, organization_id: str, connection_id: str) -> dict[str, Any] | None:
    """The row of one connection in the view `verification`; None for an unknown or archived one."""
    found = client.query(
        "SELECT organization_id, project_id, connection_id, external_id, verified, payments, first_payment,"
        " last_payment, totals, totals_by_type, net_totals, energy_wh, device_id FROM verification"
        " WHERE organization_id = {organization_id:String} AND connection_id = {connection_id:String}",
        parameters={"organization_id": organization_id, "connection_id": connection_id},
    )
    return next(iter(found.named_results()), None)


def pending_migrations(client: Client, database: str) -> list[str]:
    """Names of DDL files not applied yet; empty means the store is ready for this program."""
    applied = applied_migrations(client, database)
    return [migration.name for migration in migrations() if migration.name not in applied]
