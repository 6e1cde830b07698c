CREATE TABLE IF NOT EXISTS {database}.quarantine_rows
(
    topic LowCardinality(String) COMMENT 'Topic of the record',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded',
    organization_id String COMMENT 'Organisation of the record header, known or not',
    record_type LowCardinality(String) COMMENT 'payment or read',
    record_id String COMMENT 'Seed field ID of a payment; empty if unknown',
    identity UInt64 COMMENT 'Hash that names the record; 0 when it could not be told',
    reasons Array(LowCardinality(String)) COMMENT 'Reason codes, each `code` or `code:FIELD`',
    details String COMMENT 'What a person needs beside the reasons; never a value of the row',
    missing_kind LowCardinality(String) COMMENT 'organizations, datasets or devices when such an object was unknown; the row replays when it appears',
    missing_id String COMMENT 'Id (for a device: external id) of the unknown object',
    sealed String COMMENT 'The whole record value, encrypted with the key of the organisation',
    dataset_id String COMMENT 'Dataset the row came through; empty for none',
    source LowCardinality(String) COMMENT 'Channel: s3, sheet, upload, pull, api, device, topic',
    source_ref String COMMENT 'File and version, request or window the row came from',
    line UInt32 COMMENT 'Physical line in source_ref on which the row starts, from 1; 0 when unknown',
    partition UInt16 COMMENT 'Partition of the record',
    offset UInt64 COMMENT 'Offset of the record',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was received, UTC, milliseconds',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    replay_of Nullable(UInt64) COMMENT 'Position of the quarantined record this one replays',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(stored_at) COMMENT 'Inverted stored_at: the row stored first survives a merge',
    -- A line that was delivered twice, or a replay that was sent twice, is one received row: whoever acts on one of
    -- its records acts on all of them, or two corrections with two IDs would be two payments of one row. A line that
    -- comes again with another record_id is another row: a sheet may change while it is read again.
    received_row UInt64 MATERIALIZED multiIf(
        replay_of IS NOT NULL, sipHash64('replay', organization_id, assumeNotNull(replay_of)),
        line != 0 AND source_ref != '', sipHash64('line', organization_id, dataset_id, source_ref, line, record_id),
        sipHash64('record', position))
        COMMENT 'Hash that is the same, within a topic, for all records of one received row: one line of one source_ref with one record_id, or replays of one record; others are rows by themselves',
    INDEX by_received_row received_row TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (topic, position)
SETTINGS fsync_after_insert = 1
COMMENT 'Rows refused with a reason; analysts read the view quarantine';
