"""Questions the API asks: the ledger, the verification of a connection, readiness.

Values always go as parameters. Everything here may raise the driver's exceptions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.filters import chosen
from sinks.migrate import applied_migrations, migrations
from sinks.receipts import OUTCOMES, Key, tallies

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
    """Received rows of one dataset's files or requests, by current outcome; see `sinks.receipts`.

    Keys: `received` and the four outcomes, which add up to it.
    """
    counts = dict.fromkeys(OUTCOMES, 0)
    for tally in tallies(client, [Key(organization_id, dataset_id, ref) for ref in source_refs]).values():
        for outcome, rows in tally.current.items():
            counts[outcome] += rows
    return {"received": sum(counts.values()), **counts}


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
