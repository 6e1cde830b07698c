-- Every version of every registry object, so that nothing known earlier is lost.
CREATE TABLE IF NOT EXISTS {database}.organization_versions
(
    id String COMMENT 'Id of the object',
    number UInt64 COMMENT 'The same object as an integer',
    version UInt64 COMMENT 'Version of the object, from 1, one more per change',
    name String COMMENT 'Name',
    archived Bool COMMENT 'Archived objects stay known but are no longer used',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed in the registry, UTC, milliseconds',
    known_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version became known here, clock of the server, UTC, milliseconds',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(known_at) COMMENT 'Inverted known_at: the row stored first survives a merge'
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (id, version)
SETTINGS fsync_after_insert = 1
COMMENT 'Every version of every organisation, from the registry topic';

CREATE TABLE IF NOT EXISTS {database}.project_versions
(
    id String COMMENT 'Id of the object',
    number UInt64 COMMENT 'The same object as an integer',
    version UInt64 COMMENT 'Version of the object, from 1, one more per change',
    organization_id String COMMENT 'Organisation that owns it',
    name String COMMENT 'Name',
    country String COMMENT 'ISO 3166 code of the country',
    programme_ids Array(String) COMMENT 'Financing programmes it is enrolled in',
    archived Bool COMMENT 'Archived objects stay known but are no longer used',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed in the registry, UTC, milliseconds',
    known_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version became known here, clock of the server, UTC, milliseconds',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(known_at) COMMENT 'Inverted known_at: the row stored first survives a merge'
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (id, version)
SETTINGS fsync_after_insert = 1
COMMENT 'Every version of every project, from the registry topic';

CREATE TABLE IF NOT EXISTS {database}.device_versions
(
    id String COMMENT 'Id of the object',
    number UInt64 COMMENT 'The same object as an integer',
    version UInt64 COMMENT 'Version of the object, from 1, one more per change',
    organization_id String COMMENT 'Organisation that owns it',
    project_id String COMMENT 'Project it belongs to',
    external_id String COMMENT 'Id the organisation uses; unique per organisation',
    manufacturer String COMMENT 'Manufacturer (OEM)',
    serial_number String COMMENT 'Serial number',
    capacity_kw Nullable(Float64) COMMENT 'Nameplate capacity in kW',
    commissioned_on Nullable(Date32) COMMENT 'Day of commissioning',
    onboarded_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was onboarded, UTC, milliseconds; History reads end before it',
    archived Bool COMMENT 'Archived objects stay known but are no longer used',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed in the registry, UTC, milliseconds',
    known_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version became known here, clock of the server, UTC, milliseconds',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(known_at) COMMENT 'Inverted known_at: the row stored first survives a merge'
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (id, version)
SETTINGS fsync_after_insert = 1
COMMENT 'Every version of every device, from the registry topic';

CREATE TABLE IF NOT EXISTS {database}.connection_versions
(
    id String COMMENT 'Id of the object',
    number UInt64 COMMENT 'The same object as an integer',
    version UInt64 COMMENT 'Version of the object, from 1, one more per change',
    organization_id String COMMENT 'Organisation that owns it',
    project_id String COMMENT 'Project it belongs to',
    external_id String COMMENT 'Id that METER_ID of its payments must equal; unique per project',
    customer_external_id String COMMENT 'Id of the customer; empty for none',
    device_id String COMMENT 'Device that measures it; empty for none named',
    valid_from Nullable(DateTime64(3, 'UTC')) COMMENT 'Payments count from here on, UTC, milliseconds; NULL: since ever',
    valid_to Nullable(DateTime64(3, 'UTC')) COMMENT 'Payments count up to here, excluded, UTC, milliseconds; NULL: until further notice',
    archived Bool COMMENT 'Archived objects stay known but are no longer used',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed in the registry, UTC, milliseconds',
    known_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version became known here, clock of the server, UTC, milliseconds',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(known_at) COMMENT 'Inverted known_at: the row stored first survives a merge'
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (id, version)
SETTINGS fsync_after_insert = 1
COMMENT 'Every version of every connection, from the registry topic';

CREATE TABLE IF NOT EXISTS {database}.dataset_versions
(
    id String COMMENT 'Id of the object',
    number UInt64 COMMENT 'The same object as an integer',
    version UInt64 COMMENT 'Version of the object, from 1, one more per change',
    organization_id String COMMENT 'Organisation that owns its rows',
    name String COMMENT 'Name, such as 01_2024_Site Name',
    provider String COMMENT 'Data provider',
    source LowCardinality(String) COMMENT 'Data source: s3 and others',
    type LowCardinality(String) COMMENT 'Dataset type: electricity_payments',
    target LowCardinality(String) COMMENT 'project or programme: where its payments may match',
    project_ids Array(String) COMMENT 'Projects of a target project',
    programme_id String COMMENT 'Programme of a target programme; empty for none',
    id_namespace String COMMENT 'Namespace of its IDs; empty: shared by all channels of the organisation',
    conflict_rule String COMMENT 'Conflict rule as JSON',
    default_currency String COMMENT 'ISO 4217 code for rows without one; empty for none',
    schedule String COMMENT 'When it is polled',
    state LowCardinality(String) COMMENT 'active or paused',
    profile LowCardinality(String) COMMENT 'Profile of required fields',
    archived Bool COMMENT 'Archived objects stay known but are no longer used',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed in the registry, UTC, milliseconds',
    known_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When this version became known here, clock of the server, UTC, milliseconds',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(known_at) COMMENT 'Inverted known_at: the row stored first survives a merge'
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (id, version)
SETTINGS fsync_after_insert = 1
COMMENT 'Every version of every dataset, from the registry topic';
