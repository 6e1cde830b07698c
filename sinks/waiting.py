"""Quarantined rows that waited for a registry object which is there by now."""

from typing import NamedTuple

from clickhouse_connect.driver.client import Client


class WaitingRow(NamedTuple):
    """A refused row to be replayed; `sealed` is its original, encrypted for its organisation."""

    topic: str
    position: int
    organization_id: str
    missing_kind: str
    sealed: str


def curable_rows(client: Client, limit: int) -> list[WaitingRow]:
    """Rows refused for an unknown organisation, dataset or device that is registered now.

    A row that was replayed already (a ledger row names its position in `replay_of`) is none of them. A
    replay that was refused again is one only after its object has changed since: it was judged with
    everything that was known, and would otherwise be replayed for ever.
    May raise the driver's exceptions; `errors.classify` sorts them.
    """
    rows = client.query(
        """
        WITH known AS (
            SELECT 'organizations' AS missing_kind, id AS organization_id, id AS missing_id, known_at
            FROM organization_versions
            UNION ALL
            SELECT 'datasets', organization_id, id, known_at FROM dataset_versions
            UNION ALL
            SELECT 'devices', organization_id, argMax(external_id, version), max(known_at)
            FROM device_versions GROUP BY organization_id, id HAVING NOT argMax(archived, version)
        )
        SELECT topic, position, organization_id, missing_kind, any(sealed)
        FROM quarantine_rows
        INNER JOIN (
            SELECT missing_kind, organization_id, missing_id, max(known_at) AS changed
            FROM known GROUP BY missing_kind, organization_id, missing_id
        ) AS found USING (missing_kind, organization_id, missing_id)
        WHERE missing_kind != ''
        AND (replay_of IS NULL OR changed > stored_at)
        AND (organization_id, topic, position) NOT IN (
            SELECT organization_id, topic, assumeNotNull(replay_of)
            FROM ledger_rows WHERE replay_of IS NOT NULL)
        GROUP BY topic, position, organization_id, missing_kind
        ORDER BY position
        LIMIT {limit:UInt32}
        """,
        parameters={"limit": limit},
    ).result_rows
    return [WaitingRow(*row) for row in rows]
