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

    A row that was replayed already (a ledger row names its position in `replay_of`) is none of them.
    May raise the driver's exceptions; `errors.classify` sorts them.
    """
    rows = client.query(
        """
        SELECT topic, position, organization_id, missing_kind, any(sealed)
        FROM quarantine_rows
        WHERE (
            (missing_kind = 'organizations' AND missing_id IN (SELECT id FROM organization_versions))
            OR (missing_kind = 'datasets'
                AND (organization_id, missing_id) IN (SELECT organization_id, id FROM dataset_versions))
            OR (missing_kind = 'devices'
                AND (organization_id, missing_id) IN (
                    SELECT organization_id, argMax(external_id, version) FROM device_versions
                    GROUP BY organization_id, id HAVING NOT argMax(archived, version)))
        )
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
