-- Registry objects in their newest version, archived ones included.
-- A view `…_as_known` has the parameter `at` and sees what was known at that moment (UTC): versions by known_at,
-- facts and decisions by stored_at. `migrate` makes the view of the same name without the ending from the same text,
-- see `sinks/known_views.py`, so that there is one definition of both.
-- The query condition cache is off wherever a table is read: up to 26.9 a join's runtime filter makes it remember
-- rows as not matching that match later (ClickHouse pull request 119823): a late project was never found.
CREATE OR REPLACE VIEW {database}.organizations
(
    id String COMMENT 'Id of the object',
    number UInt64 COMMENT 'The same object as an integer',
    version UInt64 COMMENT 'Version of the object, from 1, one more per change',
    name String COMMENT 'Name',
    archived Bool COMMENT 'Archived objects stay known but are no longer used',
    changed_at DateTime64(3, 'UTC') COMMENT 'When it was changed in the registry, UTC, milliseconds',
    known_at DateTime64(3, 'UTC') COMMENT 'When this version became known here, clock of the server, UTC, milliseconds'
)
AS SELECT id, number, version, name, archived, changed_at, known_at
FROM {database}.organization_versions
ORDER BY id, version DESC, known_at
LIMIT 1 BY id
SETTINGS use_query_condition_cache = 0
COMMENT 'Organisations in their newest version, archived ones included';

CREATE OR REPLACE VIEW {database}.projects_as_known
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
    known_at DateTime64(3, 'UTC') COMMENT 'When this version became known here, clock of the server, UTC, milliseconds'
)
AS SELECT id, number, version, organization_id, name, country, programme_ids, archived, changed_at, known_at
FROM {database}.project_versions
WHERE known_at <= {at:DateTime64(3, 'UTC')}
ORDER BY id, version DESC, known_at
LIMIT 1 BY id
SETTINGS use_query_condition_cache = 0
COMMENT 'Projects in their newest version, archived ones included. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.devices_as_known
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
    known_at DateTime64(3, 'UTC') COMMENT 'When this version became known here, clock of the server, UTC, milliseconds'
)
AS SELECT id, number, version, organization_id, project_id, external_id, manufacturer, serial_number, capacity_kw, commissioned_on, onboarded_at, archived, changed_at, known_at
FROM {database}.device_versions
WHERE known_at <= {at:DateTime64(3, 'UTC')}
ORDER BY id, version DESC, known_at
LIMIT 1 BY id
SETTINGS use_query_condition_cache = 0
COMMENT 'Devices in their newest version, archived ones included. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.connections_as_known
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
    known_at DateTime64(3, 'UTC') COMMENT 'When this version became known here, clock of the server, UTC, milliseconds'
)
AS SELECT id, number, version, organization_id, project_id, external_id, customer_external_id, device_id, valid_from, valid_to, archived, changed_at, known_at
FROM {database}.connection_versions
WHERE known_at <= {at:DateTime64(3, 'UTC')}
ORDER BY id, version DESC, known_at
LIMIT 1 BY id
SETTINGS use_query_condition_cache = 0
COMMENT 'Connections in their newest version, archived ones included. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.datasets_as_known
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
    known_at DateTime64(3, 'UTC') COMMENT 'When this version became known here, clock of the server, UTC, milliseconds'
)
AS SELECT id, number, version, organization_id, name, provider, source, type, target, project_ids, programme_id, id_namespace, conflict_rule, default_currency, schedule, state, profile, archived, changed_at, known_at
FROM {database}.dataset_versions
WHERE known_at <= {at:DateTime64(3, 'UTC')}
ORDER BY id, version DESC, known_at
LIMIT 1 BY id
SETTINGS use_query_condition_cache = 0
COMMENT 'Datasets in their newest version, archived ones included. As known at the moment `at`';
