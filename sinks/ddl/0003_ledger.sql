-- One row per received row; the first verdict stays whatever is stored later at the same position.
CREATE TABLE IF NOT EXISTS {database}.ledger_rows
(
    topic LowCardinality(String) COMMENT 'Topic of the record',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded',
    organization_id String COMMENT 'Organisation of the record header, known or not',
    record_type LowCardinality(String) COMMENT 'payment or read',
    record_id String COMMENT 'Seed field ID of a payment; empty if it could not be read',
    identity UInt64 COMMENT 'Hash that names the record; 0 when it could not be told',
    content_hash UInt64 COMMENT 'Hash of what the sender supplied; 0 when it could not be told',
    outcome LowCardinality(String) COMMENT 'accepted, duplicate, conflict or quarantined',
    reasons Array(LowCardinality(String)) COMMENT 'Reason codes, each `code` or `code:FIELD`; never a value',
    dataset_id String COMMENT 'Dataset the row came through; empty for none',
    source LowCardinality(String) COMMENT 'Channel: s3, sheet, upload, pull, api, device, topic',
    source_ref String COMMENT 'File and version, request or window the row came from',
    line UInt32 COMMENT 'Physical line in source_ref on which the row starts, from 1; 0 when unknown',
    partition UInt16 COMMENT 'Partition of the record',
    offset UInt64 COMMENT 'Offset of the record',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was received, UTC, milliseconds',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    replay_of Nullable(UInt64) COMMENT 'Position of the quarantined record this one replays',
    matched_connection_id String COMMENT 'Connection the worker found while streaming; a hint that may be stale, see the view payments',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(stored_at) COMMENT 'Inverted stored_at: the verdict stored first survives a merge',
    INDEX by_record_id record_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_identity identity TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_dataset_id dataset_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX by_replay_of replay_of TYPE minmax GRANULARITY 1,
    -- Receipts are asked for by fifty at once: a coarser filter let one granule in two through. Receipts of
    -- devices' requests sort by time, so a stretch of time is a range of them.
    INDEX by_receipt source_ref TYPE bloom_filter(0.0001) GRANULARITY 1,
    INDEX by_receipt_range source_ref TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (topic, position)
SETTINGS fsync_after_insert = 1
COMMENT 'One row per received row with its outcome; analysts read the view ledger';

CREATE TABLE IF NOT EXISTS {database}.ledger_ranges
(
    topic LowCardinality(String) COMMENT 'Topic',
    epoch UInt8 COMMENT 'Epoch of the topic id, see topic_epochs',
    partition UInt16 COMMENT 'Partition',
    first_offset UInt64 COMMENT 'First offset of the finished batch',
    next_offset UInt64 COMMENT 'Offset after the last one of the finished batch',
    rows UInt64 COMMENT 'Number of ledger rows of the batch',
    forwarded UInt64 COMMENT 'Number of records forwarded to their home, which are no received rows here',
    lost UInt64 COMMENT 'Number of offsets lost to retention before they could be read',
    generation Int64 COMMENT 'Generation of the consumer group',
    worker String COMMENT 'Name of the worker process',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    -- The verifier needs to know which offsets have no ledger row of their own, and why.
    copies Array(UInt64) COMMENT 'Offsets of records that were forwarded here: their ledger rows have the position of their origin',
    markers Array(UInt64) COMMENT 'Offsets that hold no record: transaction markers'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, epoch, partition, first_offset, next_offset)
SETTINGS fsync_after_insert = 1
COMMENT 'One row per finished batch of a partition';

CREATE TABLE IF NOT EXISTS {database}.topic_epochs
(
    topic String COMMENT 'Topic',
    topic_id String COMMENT 'Topic id given by Kafka when the topic was created',
    epoch UInt8 COMMENT 'Number the worker proposed; the epoch in force is the place of the topic id in order of first_seen',
    first_seen DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'When it was first seen, clock of the server, UTC, microseconds'
)
ENGINE = MergeTree
ORDER BY (topic, first_seen, topic_id)
SETTINGS fsync_after_insert = 1
COMMENT 'Epoch of each topic id, so that a re-created topic never looks like a replay';
