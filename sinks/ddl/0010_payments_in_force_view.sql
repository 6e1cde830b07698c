-- One row per payment that counts as a version in force, with what its own fields say about counting.
CREATE OR REPLACE VIEW {database}.payments_in_force_as_known
AS SELECT
    organization_id,
    id,
    timestamp,
    id_namespace,
    payment_amount,
    payment_currency,
    currency_given,
    transaction_type,
    transaction_charges,
    reference_id,
    customer_id,
    meter_id,
    external_id,
    customer_name,
    customer_phone,
    customer_category,
    financing_id,
    agent_id,
    round(v.latitude, 3) AS latitude,
    round(v.longitude, 3) AS longitude,
    utility_id,
    failed_battery_capacity_count,
    account_type,
    status,
    notes,
    location,
    payment_source,
    v.source_field AS payment_source_field,
    custom,
    supplied,
    CAST(transaction_type IN ('FULL_PAYMENT', 'INSTALLMENT_PAYMENT', 'NON_CONTRACT_PAYMENT', ''), 'Bool') AS is_payment,
    CAST(multiIf(lower(trimBoth(status)) = 'reversed', 'reversed', lower(trimBoth(status)) IN ('error', 'pending'), 'open', 'settled'), 'LowCardinality(String)') AS state,
    CAST(transaction_type != 'REVERSAL' AND reference_id != '' AND (organization_id, reference_id) IN
    (
        SELECT organization_id, reference_id
        FROM {database}.payment_versions
        WHERE transaction_type = 'REVERSAL' AND reference_id != '' AND lower(trimBoth(status)) NOT IN ('error', 'pending')
            AND stored_at <= {at:DateTime64(3, 'UTC')}
            AND (identity, content_hash) NOT IN (SELECT identity, content_hash FROM {database}.payments_set_aside_as_known(at = {at:DateTime64(3, 'UTC')}))
    ), 'Bool') AS reversed,
    CAST(is_payment AND payment_amount > 0 AND state = 'settled' AND NOT reversed, 'Bool') AS countable,
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
FROM {database}.payment_versions AS v FINAL
WHERE stored_at <= {at:DateTime64(3, 'UTC')} AND (identity, content_hash) NOT IN (SELECT identity, content_hash FROM {database}.payments_set_aside_as_known(at = {at:DateTime64(3, 'UTC')}))
SETTINGS do_not_merge_across_partitions_select_final = 1, use_query_condition_cache = 0
COMMENT 'Payments: one row per version in force, before matching, as known at the moment `at`';

CREATE OR REPLACE VIEW {database}.payments_in_force
(
    organization_id String COMMENT 'Organisation that owns the row; record header organization_id',
    id String COMMENT 'Seed field ID: unique id of the payment, per organisation',
    timestamp DateTime64(3, 'UTC') COMMENT 'Seed field TIMESTAMP: time of payment, UTC, milliseconds',
    id_namespace String COMMENT 'Id namespace of the dataset; empty by default',
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
    latitude Nullable(Float64) COMMENT 'Seed field LATITUDE, decimal degrees, blurred to 3 decimals',
    longitude Nullable(Float64) COMMENT 'Seed field LONGITUDE, decimal degrees, blurred to 3 decimals',
    utility_id String COMMENT 'Seed field UTILITY_ID',
    failed_battery_capacity_count Nullable(UInt32) COMMENT 'Seed field FAILED_BATTERY_CAPACITY_COUNT, number of failures',
    account_type String COMMENT 'Seed field ACCOUNT_TYPE',
    status String COMMENT 'Seed field STATUS as sent',
    notes String COMMENT 'Seed field NOTES as pseudonym (64 hex digits)',
    location String COMMENT 'Seed field LOCATION as pseudonym (64 hex digits)',
    payment_source String COMMENT 'Seed field PAYMENT_SOURCE',
    payment_source_field String COMMENT 'Seed field SOURCE of file uploads: payment type',
    custom Map(String, String) COMMENT 'Columns of the sender that are no seed field: name and text',
    supplied Array(LowCardinality(String)) COMMENT 'Seed fields the sender supplied; only these take part in comparisons',
    is_payment Bool COMMENT 'TRANSACTION_TYPE is FULL_PAYMENT, INSTALLMENT_PAYMENT or NON_CONTRACT_PAYMENT, or none was given',
    state LowCardinality(String) COMMENT 'STATUS as far as it matters: reversed, open (error or pending), or settled',
    reversed Bool COMMENT 'A REVERSAL with the same REFERENCE_ID is in force in the organisation',
    countable Bool COMMENT 'Would count once matched: a payment type, amount above 0, settled, not reversed',
    dataset_id String COMMENT 'Dataset the row came through; empty for none',
    source LowCardinality(String) COMMENT 'Channel: s3, sheet, upload, pull, api, topic',
    source_ref String COMMENT 'File and version, request or window the row came from',
    line UInt32 COMMENT 'Physical line in source_ref on which the row starts, from 1; 0 when unknown',
    topic LowCardinality(String) COMMENT 'Topic of the record',
    partition UInt16 COMMENT 'Partition of the record',
    offset UInt64 COMMENT 'Offset of the record',
    received_at DateTime64(3, 'UTC') COMMENT 'When it was received, UTC, milliseconds',
    stored_at DateTime64(3, 'UTC') COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    replay_of Nullable(UInt64) COMMENT 'Position of the quarantined record this one replays',
    identity UInt64 COMMENT 'Hash of organisation, id namespace and ID; names the payment',
    content_hash UInt64 COMMENT 'Hash of what the sender supplied, normalised, before defaults; names the version',
    position UInt64 COMMENT 'Epoch (8 bits), partition (16), offset (40) of the record, or of its origin when it was forwarded'
)
AS SELECT * FROM {database}.payments_in_force_as_known(at = '2299-12-31 23:59:59.999')
COMMENT 'Payments: one row per version in force, before matching';
