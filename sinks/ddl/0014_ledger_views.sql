-- What became of every received row, and of the refused ones.
CREATE OR REPLACE VIEW {database}.ledger
(
    organization_id String COMMENT 'Organisation of the record header, known or not',
    record_type LowCardinality(String) COMMENT 'payment or read',
    record_id String COMMENT 'Seed field ID of a payment; empty if it could not be read',
    content_hash UInt64 COMMENT 'Hash of what the sender supplied; 0 when it could not be told',
    outcome LowCardinality(String) COMMENT 'accepted, duplicate, conflict or quarantined',
    reasons Array(LowCardinality(String)) COMMENT 'Reason codes, each `code` or `code:FIELD`; never a value',
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
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded',
    matched_connection_id String COMMENT 'Connection the worker found while streaming; a hint that may be stale, see the view payments'
)
AS SELECT
    organization_id,
    record_type,
    record_id,
    content_hash,
    outcome,
    reasons,
    dataset_id,
    source,
    source_ref,
    line,
    topic,
    partition,
    offset,
    received_at,
    stored_at,
    replay_of,
    identity,
    position,
    matched_connection_id
FROM {database}.ledger_rows FINAL
COMMENT 'One row per received row with its outcome; the first verdict stays';
