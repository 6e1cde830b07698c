-- Every version of every read. Partitioned by device, so that neighbouring reads lie together.
CREATE TABLE IF NOT EXISTS {database}.read_versions
(
    organization_id String COMMENT 'Organisation that owns the device',
    device_id String COMMENT 'Device in the registry',
    device_external_id String COMMENT 'External id of the device as sent',
    type LowCardinality(String) COMMENT 'History or Delta (energy of an interval), Aggregate (register value)',
    start Nullable(DateTime64(3, 'UTC')) COMMENT 'Begin of the interval, UTC, milliseconds; NULL for an Aggregate without one',
    end DateTime64(3, 'UTC') COMMENT 'End of the interval, or time of the register value, UTC, milliseconds',
    value_wh Decimal(38, 6) COMMENT 'Value in Wh',
    raw_value Decimal(38, 9) COMMENT 'Value as sent, in raw_unit',
    raw_unit LowCardinality(String) COMMENT 'Unit as sent: Wh, kWh, MWh, GWh',
    identity UInt64 COMMENT 'Hash of device, type, start and end; names the read',
    content_hash UInt64 COMMENT 'Hash of the normalised value; names the version',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded',
    outcome LowCardinality(String) COMMENT 'accepted for the first version, conflict for a further one',
    home UInt16 COMMENT 'murmur2 of the record key modulo 256',
    dataset_id String COMMENT 'Dataset the row came through; empty for none',
    source LowCardinality(String) COMMENT 'Channel: device, api, topic',
    source_ref String COMMENT 'Request or file the row came from',
    line UInt32 COMMENT 'Place in source_ref, from 1; 0 when unknown',
    topic LowCardinality(String) COMMENT 'Topic of the record',
    partition UInt16 COMMENT 'Partition of the record',
    offset UInt64 COMMENT 'Offset of the record',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was received, UTC, milliseconds',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    replay_of Nullable(UInt64) COMMENT 'Position of the quarantined record this one replays',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(stored_at) COMMENT 'Inverted stored_at: the row stored first survives a merge',
    INDEX by_identity identity TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_position position TYPE minmax GRANULARITY 4,
    -- The verifier compares new rows with the ledger all the time.
    INDEX by_stored_at stored_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_wins)
PARTITION BY sipHash64(device_id) % 4
ORDER BY (organization_id, device_id, type, end, identity, content_hash)
SETTINGS fsync_after_insert = 1
COMMENT 'Every version of every read; analysts read the view reads';
