-- What a METER_ID or EXTERNAL_ID may match, and which device measures a connection.
CREATE OR REPLACE VIEW {database}.match_candidates_as_known
(
    organization_id String COMMENT 'Organisation that owns the connections',
    external_id String COMMENT 'external_id of the connections, trimmed',
    candidates Array(Tuple(project_id String, connection_id String, valid_from Nullable(DateTime64(3, 'UTC')), valid_to Nullable(DateTime64(3, 'UTC')))) COMMENT 'Connections in use with this external_id; valid_to is excluded; times in UTC'
)
AS SELECT organization_id, trimBoth(c.external_id) AS external_id, groupArray((project_id, id, valid_from, valid_to)) AS candidates
FROM {database}.connections_as_known(at = {at:DateTime64(3, 'UTC')}) AS c
WHERE NOT archived AND trimBoth(c.external_id) != ''
GROUP BY organization_id, external_id
COMMENT 'Connections in use by external_id. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.bounded_ids_as_known
(
    organization_id String COMMENT 'Organisation that owns the connections',
    external_id String COMMENT 'external_id, trimmed, of connections in use that are valid for a limited time'
)
AS SELECT DISTINCT organization_id, trimBoth(c.external_id) AS external_id
FROM {database}.connections_as_known(at = {at:DateTime64(3, 'UTC')}) AS c
WHERE NOT archived AND (valid_from IS NOT NULL OR valid_to IS NOT NULL)
COMMENT 'external_ids for which the time of a payment matters. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.dataset_scopes_as_known
(
    organization_id String COMMENT 'Organisation that owns the dataset',
    dataset_id String COMMENT 'Dataset',
    project_id String COMMENT 'Project within which its payments may match'
)
AS SELECT d.organization_id AS organization_id, d.id AS dataset_id, arrayJoin(if(d.target = 'programme', p.enrolled, d.project_ids)) AS project_id
FROM {database}.datasets_as_known(at = {at:DateTime64(3, 'UTC')}) AS d
LEFT JOIN
(
    SELECT organization_id, programme_id, groupArray(id) AS enrolled
    FROM {database}.projects_as_known(at = {at:DateTime64(3, 'UTC')})
    ARRAY JOIN programme_ids AS programme_id
    GROUP BY organization_id, programme_id
) AS p ON p.organization_id = d.organization_id AND p.programme_id = d.programme_id
COMMENT 'Projects within which the payments of a dataset may match. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.connection_devices_as_known
(
    connection_id String COMMENT 'Connection',
    device_id String COMMENT 'Device named by the connection, else the only one of the project whose external id or serial number equals external_id; empty for none'
)
AS SELECT c.id AS connection_id, if(c.device_id != '', c.device_id, d.device_id) AS device_id
FROM {database}.connections_as_known(at = {at:DateTime64(3, 'UTC')}) AS c
LEFT JOIN
(
    SELECT project_id, name, if(count() = 1, any(id), '') AS device_id
    FROM {database}.devices_as_known(at = {at:DateTime64(3, 'UTC')})
    ARRAY JOIN arrayDistinct([trimBoth(external_id), trimBoth(serial_number)]) AS name
    WHERE NOT archived AND name != ''
    GROUP BY project_id, name
) AS d ON d.project_id = c.project_id AND d.name = trimBoth(c.external_id)
COMMENT 'The device that measures each connection. As known at the moment `at`';
