-- Every version of every payment, and the key table the deduplication index is restored from.
-- First stored wins: the version column falls as time rises, so a replayed insert changes nothing.
CREATE TABLE IF NOT EXISTS {database}.payment_versions
(
    organization_id String COMMENT 'Organisation that owns the row; record header organization_id',
    identity UInt64 COMMENT 'Hash of organisation, id namespace and ID; names the payment',
    content_hash UInt64 COMMENT 'Hash of what the sender supplied, normalised, before defaults; names the version',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded',
    outcome LowCardinality(String) COMMENT 'accepted for the first version, conflict for a further one',
    home UInt16 COMMENT 'murmur2 of the record key modulo 256',
    id_namespace String COMMENT 'Id namespace of the dataset; empty by default',
    id String COMMENT 'Seed field ID: unique id of the payment, per organisation',
    timestamp DateTime64(3, 'UTC') COMMENT 'Seed field TIMESTAMP: time of payment, UTC, milliseconds',
    payment_amount Decimal(38, 9) COMMENT 'Seed field PAYMENT_AMOUNT, in units of payment_currency; sign as sent',
    payment_currency LowCardinality(String) COMMENT 'Seed field PAYMENT_CURRENCY as ISO 4217 code',
    currency_given String COMMENT 'Seed field PAYMENT_CURRENCY as sent; empty when the default of the dataset was taken',
    transaction_type LowCardinality(String) COMMENT 'Seed field TRANSACTION_TYPE; empty when none was given',
    transaction_charges Nullable(Decimal(38, 9)) COMMENT 'Seed field TRANSACTION_CHARGES, in units of payment_currency',
    reference_id String COMMENT 'Seed field REFERENCE_ID: payment reference; links a REVERSAL to its payment',
    customer_id String COMMENT 'Seed field CUSTOMER_ID',
    meter_id String COMMENT 'Seed field METER_ID: serial number of the system, equal to external_id of a connection',
    external_id String COMMENT 'Seed field EXTERNAL_ID: serial number in file uploads',
    customer_name String COMMENT 'Seed field CUSTOMER_NAME as pseudonym (64 hex digits)',
    customer_phone String COMMENT 'Seed field CUSTOMER_PHONE as pseudonym (64 hex digits)',
    customer_category String COMMENT 'Seed field CUSTOMER_CATEGORY',
    financing_id String COMMENT 'Seed field FINANCING_ID',
    agent_id String COMMENT 'Seed field AGENT_ID as pseudonym (64 hex digits)',
    latitude Nullable(Float64) COMMENT 'Seed field LATITUDE, decimal degrees, as sent',
    longitude Nullable(Float64) COMMENT 'Seed field LONGITUDE, decimal degrees, as sent',
    utility_id String COMMENT 'Seed field UTILITY_ID',
    failed_battery_capacity_count Nullable(UInt32) COMMENT 'Seed field FAILED_BATTERY_CAPACITY_COUNT, number of failures',
    account_type String COMMENT 'Seed field ACCOUNT_TYPE',
    status String COMMENT 'Seed field STATUS as sent',
    notes String COMMENT 'Seed field NOTES as pseudonym (64 hex digits)',
    location String COMMENT 'Seed field LOCATION as pseudonym (64 hex digits)',
    payment_source String COMMENT 'Seed field PAYMENT_SOURCE',
    source_field String COMMENT 'Seed field SOURCE of file uploads: payment type',
    custom Map(String, String) COMMENT 'Columns of the sender that are no seed field: name and text',
    supplied Array(LowCardinality(String)) COMMENT 'Seed fields the sender supplied; only these take part in comparisons',
    dataset_id String COMMENT 'Dataset the row came through; empty for none',
    source LowCardinality(String) COMMENT 'Channel: s3, sheet, upload, pull, api, topic',
    source_ref String COMMENT 'File and version, request or window the row came from',
    line UInt32 COMMENT 'Physical line in source_ref on which the row starts, from 1; 0 when unknown',
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
PARTITION BY identity % 8
ORDER BY (organization_id, meter_id, identity, content_hash)
SETTINGS fsync_after_insert = 1
COMMENT 'Every version of every payment; analysts read the view payments';

CREATE TABLE IF NOT EXISTS {database}.payment_keys
(
    home UInt16 COMMENT 'murmur2 of the record key modulo 256',
    identity UInt64 COMMENT 'Hash of organisation, id namespace and ID',
    content_hash UInt64 COMMENT 'Hash of what the sender supplied',
    position UInt64 COMMENT 'Position of the record that brought it first',
    outcome LowCardinality(String) COMMENT 'accepted, conflict, or alias: other text of a known version, without a difference',
    alias_of UInt64 COMMENT 'Of an alias the content_hash of the version that it does not differ from; 0 for others',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(stored_at) COMMENT 'Inverted stored_at: the row stored first survives a merge'
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (home, identity, content_hash)
SETTINGS fsync_after_insert = 1
COMMENT 'Judged payments in the order in which the deduplication index is restored';
