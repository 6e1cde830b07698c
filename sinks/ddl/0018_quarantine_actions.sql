-- What people and the sweep did about refused rows, and the view that tells where each row stands.
CREATE TABLE IF NOT EXISTS {database}.quarantine_actions
(
    topic LowCardinality(String) COMMENT 'Topic of the refused record',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the refused record',
    organization_id String COMMENT 'Organisation of the record header, known or not',
    action LowCardinality(String) COMMENT 'claimed: somebody acts on the row, for a replay nothing follows but its ledger row; withdrawn: he did not after all; discarded; requeued: a worker replays it by itself',
    changed Bool COMMENT 'True when a replay sends other content than the row had',
    claim_id String COMMENT 'The same for all actions of one attempt; a withdrawn ends no other attempt',
    done_by String COMMENT 'Id of the user, or sweep',
    reason String COMMENT 'Why it was discarded, as the user wrote it; empty for other actions',
    stored_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it was stored, clock of the server, UTC, microseconds'
)
ENGINE = MergeTree
ORDER BY (topic, position, stored_at)
SETTINGS fsync_after_insert = 1
COMMENT 'What was done about refused rows: appended, never edited; the latest one of a row counts';

CREATE OR REPLACE VIEW {database}.quarantine
(
    organization_id String COMMENT 'Organisation of the record header, known or not',
    record_type LowCardinality(String) COMMENT 'payment or read',
    record_id String COMMENT 'Seed field ID of a payment; empty if unknown',
    reasons Array(LowCardinality(String)) COMMENT 'Reason codes, each `code` or `code:FIELD`',
    details String COMMENT 'What a person needs beside the reasons; never a value of the row',
    state LowCardinality(String) COMMENT 'open; replaying: somebody acts on it or its replay is on the way; replayed: a record with replay_of this one was judged; discarded: an admin gave it up; superseded: its ID was accepted from elsewhere later; redelivered: another record of the same received row stands for it, the first refused one, or one that was not refused',
    missing_kind LowCardinality(String) COMMENT 'organizations, datasets or devices when such an object was unknown; the row replays when it appears',
    missing_id String COMMENT 'Id (for a device: external id) of the unknown object',
    dataset_id String COMMENT 'Dataset the row came through; empty for none',
    source LowCardinality(String) COMMENT 'Channel: s3, sheet, upload, pull, api, device, topic',
    source_ref String COMMENT 'File and version, request or window the row came from',
    line UInt32 COMMENT 'Physical line in source_ref on which the row starts, from 1; 0 when unknown',
    topic LowCardinality(String) COMMENT 'Topic of the record',
    partition UInt16 COMMENT 'Partition of the record',
    offset UInt64 COMMENT 'Offset of the record',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was received, UTC, milliseconds',
    stored_at DateTime64(3, 'UTC') COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    replay_of Nullable(UInt64) COMMENT 'Position of the quarantined record this one replays',
    identity UInt64 COMMENT 'Hash that names the record; 0 when it could not be told',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded'
)
AS SELECT
    q.organization_id AS organization_id,
    CAST(q.record_type, 'LowCardinality(String)') AS record_type,
    q.record_id AS record_id,
    q.reasons AS reasons,
    q.details AS details,
    CAST(multiIf(
        (t.records > 1 AND q.position > t.first) OR e.records > 0, 'redelivered',
        (q.topic, q.received_row) IN (
            SELECT topic, received_row FROM {database}.quarantine_rows
            WHERE (organization_id, topic, position) IN (SELECT organization_id, topic, assumeNotNull(replay_of) FROM {database}.ledger_rows WHERE replay_of IS NOT NULL)), 'replayed',
        a.latest = 'discarded', 'discarded',
        a.latest = 'claimed', 'replaying',
        if(q.identity != 0, i.accepted, r.accepted) > (q.received_at, q.position), 'superseded',
        'open'), 'LowCardinality(String)') AS state,
    CAST(q.missing_kind, 'LowCardinality(String)') AS missing_kind,
    q.missing_id AS missing_id,
    q.dataset_id AS dataset_id,
    CAST(q.source, 'LowCardinality(String)') AS source,
    q.source_ref AS source_ref,
    q.line AS line,
    CAST(q.topic, 'LowCardinality(String)') AS topic,
    q.partition AS partition,
    q.offset AS offset,
    q.received_at AS received_at,
    q.stored_at AS stored_at,
    q.replay_of AS replay_of,
    q.identity AS identity,
    q.position AS position
FROM {database}.quarantine_rows AS q FINAL
LEFT JOIN
(
    SELECT topic, received_row, min(position) AS first, uniqExact(position) AS records
    FROM {database}.quarantine_rows
    GROUP BY topic, received_row
    HAVING records > 1
) AS t ON t.topic = q.topic AND t.received_row = q.received_row
LEFT JOIN
(
    SELECT topic, organization_id, dataset_id, source_ref, line, record_id, count() AS records
    FROM {database}.ledger_rows
    WHERE outcome != 'quarantined' AND replay_of IS NULL AND (source_ref, line) IN (SELECT source_ref, line FROM {database}.quarantine_rows WHERE line != 0 AND source_ref != '')
    GROUP BY topic, organization_id, dataset_id, source_ref, line, record_id
) AS e ON e.topic = q.topic AND e.organization_id = q.organization_id AND e.dataset_id = q.dataset_id AND e.source_ref = q.source_ref AND e.line = q.line AND e.record_id = q.record_id
LEFT JOIN
(
    SELECT topic, received_row,
        arraySort(groupArray((stored_at, action, claim_id))) AS deeds,
        arrayLast(deed -> deed.2 != 'withdrawn', deeds) AS held,
        if(arrayExists(deed -> deed.2 = 'withdrawn' AND deed.3 = held.3 AND deed.1 >= held.1, deeds), 'withdrawn', held.2) AS latest
    FROM
    (
        SELECT r.topic AS topic, r.received_row AS received_row, d.stored_at AS stored_at, toString(d.action) AS action, d.claim_id AS claim_id
        FROM {database}.quarantine_rows AS r
        INNER JOIN {database}.quarantine_actions AS d ON d.topic = r.topic AND d.position = r.position
        WHERE d.action != 'requeued'
    )
    GROUP BY topic, received_row
) AS a ON a.topic = q.topic AND a.received_row = q.received_row
LEFT JOIN
(
    SELECT organization_id, topic, identity, max((received_at, position)) AS accepted
    FROM {database}.ledger_rows
    WHERE outcome = 'accepted' AND identity IN (SELECT identity FROM {database}.quarantine_rows WHERE identity != 0)
    GROUP BY organization_id, topic, identity
) AS i ON i.organization_id = q.organization_id AND i.topic = q.topic AND i.identity = q.identity
LEFT JOIN
(
    SELECT organization_id, id, argMax(id_namespace, version) AS id_namespace
    FROM {database}.dataset_versions
    GROUP BY organization_id, id
) AS n ON n.organization_id = q.organization_id AND n.id = q.dataset_id
LEFT JOIN
(
    -- From any channel: an ID is unique in its namespace, which the dataset names, and is empty without one.
    SELECT l.organization_id AS organization_id, l.topic AS topic, d.id_namespace AS id_namespace, l.record_id AS record_id,
        max((l.received_at, l.position)) AS accepted
    FROM {database}.ledger_rows AS l
    LEFT JOIN
    (
        SELECT organization_id, id, argMax(id_namespace, version) AS id_namespace
        FROM {database}.dataset_versions
        GROUP BY organization_id, id
    ) AS d ON d.organization_id = l.organization_id AND d.id = l.dataset_id
    WHERE l.outcome = 'accepted' AND l.record_type = 'payment' AND l.record_id IN (SELECT record_id FROM {database}.quarantine_rows WHERE identity = 0 AND record_id != '')
    GROUP BY organization_id, topic, id_namespace, record_id
) AS r ON r.organization_id = q.organization_id AND r.topic = q.topic AND r.id_namespace = n.id_namespace AND r.record_id = q.record_id
COMMENT 'Refused rows: why, where from, and what became of them since';
