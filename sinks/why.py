"""What is known about received rows beside their outcome: one query per question for a whole page.

Values always go as parameters. Everything here may raise the driver's exceptions.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from clickhouse_connect.driver.client import Client

from sinks.chunks import AT_ONCE, chunks

Rows = list[dict[str, Any]]
Table = Literal["ledger_rows", "quarantine_rows"]

MAX_VERSIONS: Final = 100
"""Most versions of a file that one name stands for; the newest ones."""

_ALL_THAT_IS_KNOWN: Final = "2299-12-31 23:59:59.999"
_UNVERSIONED: Final = "replaceRegexpOne(source_ref, '@[^@/]*$', '')"


def sources_named(
    client: Client, name: str, conditions: Mapping[str, Any], table: Table = "ledger_rows"
) -> list[str]:
    """The `source_ref`s that a name stands for, the one received last first.

    Args:
        name: a whole `source_ref`, or one without its `@version`, or either without the path before the
            file's name.
        conditions: `organization_id`, `dataset_id` and `line`, to look at their rows only; None for any.
        table: where rows are looked for.
    """
    narrow = {
        "organization_id": "organization_id = {organization_id:String}",
        "dataset_id": "dataset_id = {dataset_id:String}",
        "line": "line = {line:UInt32}",
    }
    given = {key: value for key, value in conditions.items() if key in narrow and value is not None}
    where = "".join(f" AND {narrow[key]}" for key in given)
    bare = "" if "/" in name else " OR endsWith(source_ref, {tail:String}) OR endsWith(plain, {tail:String})"
    sql = (
        f"SELECT source_ref, {_UNVERSIONED} AS plain FROM {table}"
        f" WHERE {{condition}}{where} GROUP BY source_ref"
        f" ORDER BY min(received_at) DESC, source_ref LIMIT {MAX_VERSIONS}"
    )
    parameters = {**given, "name": name, "tail": f"/{name}"}
    exact = sql.replace("{condition}", "source_ref = {name:String}")  # found by its index
    wide = sql.replace("{condition}", f"source_ref != '' AND (plain = {{name:String}}{bare})")
    for query in (exact, wide):
        found = [row[0] for row in client.query(query, parameters=parameters).result_rows]
        if found:
            return found
    return []


def aliases(client: Client, homes: Iterable[int], identities: Iterable[int]) -> dict[tuple[int, int], int]:
    """(Identity, content of another spelling) → content of the version it does not differ from.

    `homes` are those of the identities: the table is ordered by them.
    """
    found: dict[tuple[int, int], int] = {}
    for wanted in chunks(sorted(set(identities)), AT_ONCE // 2):
        rows = client.query(
            "SELECT identity, content_hash, argMin(alias_of, stored_at) AS spelled FROM payment_keys"
            " WHERE home IN {homes:Array(UInt16)} AND identity IN {identities:Array(UInt64)}"
            " AND outcome = 'alias' GROUP BY identity, content_hash HAVING spelled != 0",
            parameters={"homes": sorted(set(homes)), "identities": wanted},
        ).result_rows
        found |= {(int(row[0]), int(row[1])): int(row[2]) for row in rows}
    return found


def payments_shown(client: Client, organizations: Sequence[str], identities: Iterable[int]) -> Rows:
    """Rows of the view `payments`: versions in force, matched as of now."""
    return _shown(client, "payments", organizations, identities)


def reads_shown(
    client: Client, organizations: Sequence[str], identities: Iterable[int], devices: Iterable[str]
) -> Rows:
    """Rows of the view `reads`: versions in force, with their energy. `devices` are those of the reads."""
    condition = " AND device_id IN {devices:Array(String)}"
    return _shown(client, "reads", organizations, identities, condition, {"devices": sorted(set(devices))})


def _shown(
    client: Client,
    view: str,
    organizations: Sequence[str],
    identities: Iterable[int],
    condition: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> Rows:
    rows: Rows = []
    for wanted in chunks(sorted(set(identities)), AT_ONCE // 2):
        found = client.query(
            f"SELECT * FROM {view} WHERE organization_id IN {{organizations:Array(String)}}"
            f" AND identity IN {{identities:Array(UInt64)}}{condition}",
            parameters={
                "organizations": list(organizations), "identities": wanted, **(parameters or {})
            },
        )  # fmt: skip
        rows += list(found.named_results())
    return rows


def near_misses(client: Client, organizations: Sequence[str], sent_ids: Sequence[str]) -> Rows:
    """Rows of the view `match_hints` for ids that matched nothing."""
    return _rows(
        client,
        "SELECT organization_id, sent_id, connection_id, external_id FROM match_hints"
        " WHERE organization_id IN {organizations:Array(String)} AND sent_id IN {sent:Array(String)}"
        " ORDER BY sent_id, connection_id",
        {"organizations": list(organizations), "sent": list(sent_ids)},
    )


def candidates(client: Client, organizations: Sequence[str], external_ids: Sequence[str]) -> Rows:
    """Rows of the view `match_candidates`: connections in use with these external ids."""
    return _rows(
        client,
        "SELECT organization_id, external_id, candidates FROM match_candidates"
        " WHERE organization_id IN {organizations:Array(String)} AND external_id IN {ids:Array(String)}",
        {"organizations": list(organizations), "ids": list(external_ids)},
    )


def scopes(client: Client, dataset_ids: Sequence[str]) -> set[tuple[str, str, str]]:
    """(organisation, dataset, project) within which payments of these datasets may match."""
    found = client.query(
        "SELECT organization_id, dataset_id, project_id FROM dataset_scopes"
        " WHERE dataset_id IN {datasets:Array(String)}",
        parameters={"datasets": list(dataset_ids)},
    )
    return {(str(row[0]), str(row[1]), str(row[2])) for row in found.result_rows}


def measured_connections(client: Client, organizations: Sequence[str], device_ids: Sequence[str]) -> Rows:
    """Connections in use that these devices measure: device, connection, project, external id."""
    return _rows(
        client,
        "SELECT d.device_id AS device_id, c.id AS connection_id, c.project_id AS project_id,"
        " c.external_id AS external_id"
        f" FROM connection_devices_as_known(at = '{_ALL_THAT_IS_KNOWN}') AS d"
        " INNER JOIN connections AS c ON c.id = d.connection_id"
        " WHERE c.organization_id IN {organizations:Array(String)} AND NOT c.archived"
        " AND d.device_id IN {devices:Array(String)} ORDER BY connection_id",
        {"organizations": list(organizations), "devices": list(device_ids)},
    )


def quarantined(client: Client, organizations: Sequence[str], positions: Sequence[int]) -> Rows:
    """Rows of the view `quarantine` at these positions, without what is sealed."""
    return _rows(
        client,
        "SELECT organization_id, topic, position, state, details, missing_kind, missing_id FROM quarantine"
        " WHERE organization_id IN {organizations:Array(String)}"
        " AND position IN {positions:Array(UInt64)}",
        {"organizations": list(organizations), "positions": list(positions)},
    )


def replays_of(client: Client, organizations: Sequence[str], positions: Sequence[int]) -> Rows:
    """Ledger rows that replay the records at these positions, oldest first."""
    return _rows(
        client,
        "SELECT organization_id, topic, partition, offset, position, outcome, reasons, received_at,"
        " stored_at, replay_of FROM ledger WHERE organization_id IN {organizations:Array(String)}"
        " AND replay_of IN {positions:Array(UInt64)} ORDER BY topic, position",
        {"organizations": list(organizations), "positions": list(positions)},
    )


def _rows(client: Client, sql: str, parameters: Mapping[str, Any]) -> Rows:
    return list(client.query(sql, parameters=dict(parameters)).named_results())
