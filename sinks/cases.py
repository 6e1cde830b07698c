"""Questions about cases: records with several versions, and everything ever decided about them.

Values always go as parameters. Everything here may raise the driver's exceptions.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.chunks import AT_ONCE, chunks
from sinks.filters import chosen

CaseKey = tuple[str, str, int]
"""Organisation, record type and identity: what cases are ordered by."""

_CASE_COLUMNS: Final = (
    "organization_id, record_type, record_id, identity, versions, differing_fields, decision, decision_id,"
    " decided_by, decided_at, open"
)

_FILTERS: Final[dict[str, str]] = {
    "organization_id": "organization_id = {organization_id:String}",
    "organization_ids": "organization_id IN {organization_ids:Array(String)}",
    "record_type": "record_type = {record_type:String}",
    "record_id": "record_id = {record_id:String}",
    "identities": "identity IN {identities:Array(UInt64)}",
    "open": "open = {open:Bool}",
    "decision": "decision = {decision:String}",
    "decision_id": "decision_id = {decision_id:String}",
    "decided": "(decision != '') = {decided:Bool}",
    "dataset_id": "arrayExists(x -> tupleElement(x, 'dataset_id') = {dataset_id:String}, versions)",
    "field": "has(differing_fields, {field:String})",
    "only_fields": "notEmpty(differing_fields) AND hasAll({only_fields:Array(String)}, differing_fields)",
    # The new version is the last one; reads have no transaction type.
    "transaction_type": "(identity, tupleElement(versions[-1], 'content_hash')) IN"
    " (SELECT identity, content_hash FROM payment_versions"
    " WHERE transaction_type = {transaction_type:String})",
}


def cases(
    client: Client, filters: Mapping[str, Any], limit: int = 100, after: CaseKey | None = None
) -> list[dict[str, Any]]:
    """Rows of the view `conflicts`, in the order of their `CaseKey`.

    Args:
        filters: see `_FILTERS`; those that are None are left out. `dataset_id` is that of any version,
            `only_fields` wants no other field to differ. Callers that
            may not see everything must give `organization_id` or `organization_ids`.
        after: key of the last case of the page before.

    Raises:
        ValueError: there is no such filter.
    """
    conditions, wanted = chosen(filters, _FILTERS)
    if after is not None:
        conditions.append(
            "(organization_id, record_type, identity)"
            " > ({after_organization:String}, {after_type:String}, {after_identity:UInt64})"
        )
        names = ("after_organization", "after_type", "after_identity")
        wanted |= dict(zip(names, after, strict=True))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = (
        f"SELECT {_CASE_COLUMNS} FROM conflicts{where}"
        " ORDER BY organization_id, record_type, identity LIMIT {limit:UInt32}"
    )
    if "identities" in wanted:
        sql += _of_these_only(str(client.database), wanted["identities"])
    return list(client.query(sql, parameters={**wanted, "limit": limit}).named_results())


def _of_these_only(database: str, identities: Iterable[int]) -> str:
    """Lets the view `conflicts` read these identities alone.

    The view looks for identities with several contents among all keys; a condition on its result does
    not reach into that search (1.2 s against 0.1 s with 3 million payments).
    """
    tables = ("payment_keys", "payment_versions", "read_versions", "decisions")
    condition = f"identity IN ({', '.join(str(int(identity)) for identity in identities)})"
    filters = ", ".join(f"'{database}.{table}': '{condition}'" for table in tables)
    return f" SETTINGS additional_table_filters = {{{filters}}}"


def cases_of(client: Client, identities: Iterable[int]) -> list[dict[str, Any]]:
    """The cases among these identities, of payments and reads."""
    pieces = chunks(sorted(set(identities)), AT_ONCE // 4)
    return [row for wanted in pieces for row in _cases_of(client, wanted)]


def _cases_of(client: Client, identities: list[int]) -> list[dict[str, Any]]:
    return cases(client, {"identities": identities}, limit=2 * len(identities))


def decisions_about(client: Client, identities: Iterable[int]) -> list[dict[str, Any]]:
    """Every decision ever made about these identities, oldest first within each.

    One that was written again (a repeated request, a crash) is told once, as it was stored first.
    """
    found: list[dict[str, Any]] = []
    for wanted in chunks(sorted(set(identities))):
        result = client.query(
            "SELECT organization_id, toString(record_type) AS record_type, identity, decision_id,"
            " toString(decision) AS decision, selected, known, decided_by, rule,"
            " in_force_from AS decided_at FROM (SELECT *, in_force_from FROM decisions"
            " WHERE identity IN {identities:Array(UInt64)}"
            " ORDER BY stored_at LIMIT 1 BY organization_id, identity, decision_id)"
            " ORDER BY identity, in_force_from, decision_id",
            parameters={"identities": wanted},
        )
        found += list(result.named_results())
    return found
