-- Reads with the energy of each interval; a late register value corrects its neighbours.
CREATE OR REPLACE VIEW {database}.reads_as_known
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
    energy_wh Decimal(38, 6) COMMENT 'Energy of the interval in Wh: the value of a History or Delta; of an Aggregate the rise since the previous register value of the device, 0 for the first and for a fall',
    dataset_id String COMMENT 'Dataset the row came through; empty for none',
    source LowCardinality(String) COMMENT 'Channel: device, api, topic',
    source_ref String COMMENT 'Request or file the row came from',
    line UInt32 COMMENT 'Place in source_ref, from 1; 0 when unknown',
    topic LowCardinality(String) COMMENT 'Topic of the record',
    partition UInt16 COMMENT 'Partition of the record',
    offset UInt64 COMMENT 'Offset of the record',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was received, UTC, milliseconds',
    stored_at DateTime64(3, 'UTC') COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    replay_of Nullable(UInt64) COMMENT 'Position of the quarantined record this one replays',
    identity UInt64 COMMENT 'Hash of device, type, start and end; names the read',
    content_hash UInt64 COMMENT 'Hash of the normalised value; names the version',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded'
)
AS SELECT
    organization_id,
    device_id,
    device_external_id,
    type,
    start,
    end,
    value_wh,
    raw_value,
    raw_unit,
    if(type = 'Aggregate', greatest(value_wh - lagInFrame(value_wh, 1, value_wh) OVER (PARTITION BY organization_id, device_id, type ORDER BY end ASC, position ASC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), toDecimal128(0, 6)), value_wh) AS energy_wh,
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
    content_hash,
    position
FROM {database}.read_versions FINAL
WHERE stored_at <= {at:DateTime64(3, 'UTC')} AND (identity, content_hash) NOT IN (SELECT identity, content_hash FROM {database}.reads_set_aside_as_known(at = {at:DateTime64(3, 'UTC')}))
SETTINGS do_not_merge_across_partitions_select_final = 1, use_query_condition_cache = 0
COMMENT 'Reads: one row per version in force, with the energy of its interval. As known at the moment `at`';
