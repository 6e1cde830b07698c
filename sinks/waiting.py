"""Quarantined rows that waited for a registry object which is there by now."""

from datetime import datetime
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from sinks.quarantine_actions import LATEST

Place = tuple[str, int]
"""Topic and position of a row."""
START: Final[Place] = ("", 0)


class WaitingRow(NamedTuple):
    """A refused row to be replayed; `sealed` is its original, encrypted for its organisation."""

    topic: str
    position: int
    organization_id: str
    missing_kind: str
    sealed: str
    received_at: datetime


def curable_rows(client: Client, limit: int, after: Place = START) -> list[WaitingRow]:
    """Rows refused for an unknown organisation, dataset or device that is registered now, by place.

    A row that was replayed already (a ledger row names its position in `replay_of`) is none of them. A row
    that somebody is replaying by hand, or has discarded, is left to him. Of the records of one received row
    the first one stands for all, as in the view `quarantine`; none does when another record of the line was
    not refused: the line has its outcome, and a replay could only be called a duplicate of itself.

    A replay that was refused again is one only if its object has changed since the replay was begun: it was
    judged after that, with everything that was known, and would otherwise be replayed for ever. Both
    moments are of the server's clock; when the refusal was stored says nothing, a store that was away
    stores it late.

    May raise the driver's exceptions; `errors.classify` sorts them.

    Args:
        limit: most rows of one page.
        after: place of the last row of the page before.
    """
    rows = client.query(
        """
        WITH known AS (
            SELECT 'organizations' AS missing_kind, id AS organization_id, id AS missing_id,
                min(known_at) AS first_known
            FROM organization_versions GROUP BY id, version
            UNION ALL
            SELECT 'datasets', organization_id, id, min(known_at)
            FROM dataset_versions GROUP BY organization_id, id, version
            UNION ALL
            SELECT 'devices', organization_id, argMax(external_id, version), max(first_known)
            FROM (
                SELECT organization_id, id, external_id, version, archived, min(known_at) AS first_known
                FROM device_versions GROUP BY organization_id, id, external_id, version, archived
            )
            GROUP BY organization_id, id HAVING NOT argMax(archived, version)
        )
        SELECT q.topic, q.position, q.organization_id, any(q.missing_kind), any(q.sealed), any(q.received_at)
        FROM quarantine_rows AS q
        INNER JOIN (
            SELECT missing_kind, organization_id, missing_id, max(first_known) AS changed
            FROM known GROUP BY missing_kind, organization_id, missing_id
        ) AS found ON found.missing_kind = q.missing_kind
            AND found.organization_id = q.organization_id AND found.missing_id = q.missing_id
        LEFT JOIN (
            SELECT topic, position, max(stored_at) AS begun FROM quarantine_actions
            WHERE action IN ('requeued', 'claimed') GROUP BY topic, position
        ) AS acted ON acted.topic = q.topic AND acted.position = ifNull(q.replay_of, 0)
        WHERE q.missing_kind != ''
        AND (q.topic, q.position) > ({after_topic:String}, {after_position:UInt64})
        AND (q.replay_of IS NULL OR found.changed > acted.begun)
        AND (q.topic, q.received_row) NOT IN (
            SELECT topic, received_row FROM quarantine_rows
            WHERE (organization_id, topic, position) IN (
                SELECT organization_id, topic, assumeNotNull(replay_of)
                FROM ledger_rows WHERE replay_of IS NOT NULL))
        AND (q.topic, q.received_row) NOT IN (
            SELECT r.topic, r.received_row FROM quarantine_rows AS r
            INNER JOIN quarantine_actions AS a ON a.topic = r.topic AND a.position = r.position
            GROUP BY r.topic, r.received_row HAVING {latest} IN ('claimed', 'discarded'))
        AND (q.topic, q.received_row, q.position) IN (
            SELECT topic, received_row, min(position) FROM quarantine_rows
            WHERE (topic, received_row) IN (
                SELECT topic, received_row FROM quarantine_rows WHERE missing_kind != '')
            GROUP BY topic, received_row)
        AND (q.topic, q.organization_id, q.dataset_id, q.source_ref, q.line, q.record_id) NOT IN (
            SELECT topic, organization_id, dataset_id, source_ref, line, record_id FROM ledger_rows
            WHERE outcome != 'quarantined' AND replay_of IS NULL AND line != 0 AND source_ref != ''
            AND source_ref IN (SELECT source_ref FROM quarantine_rows WHERE missing_kind != ''))
        GROUP BY q.topic, q.position, q.organization_id
        ORDER BY q.topic, q.position
        LIMIT {limit:UInt32}
        """.replace("{latest}", LATEST),
        parameters={"limit": limit, "after_topic": after[0], "after_position": after[1]},
    ).result_rows
    return [WaitingRow(*row) for row in rows]
