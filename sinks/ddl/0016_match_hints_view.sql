-- Near misses: reported, never matched.
CREATE OR REPLACE VIEW {database}.match_hints
(
    organization_id String COMMENT 'Organisation that owns the payments and the connection',
    sent_id String COMMENT 'METER_ID, or EXTERNAL_ID where METER_ID is empty, of unmatched payments',
    payments UInt64 COMMENT 'Number of unmatched payments with it',
    connection_id String COMMENT 'Connection whose external_id differs only in case, spaces or leading zeros',
    external_id String COMMENT 'external_id of that connection'
)
AS SELECT
    p.organization_id AS organization_id,
    p.sent_id AS sent_id,
    p.payments AS payments,
    c.id AS connection_id,
    c.external_id AS external_id
FROM
(
    SELECT
        organization_id,
        if(meter_id = '', external_id, meter_id) AS sent_id,
        replaceRegexpOne(lowerUTF8(replaceRegexpAll(sent_id, '\\s', '')), '^0+', '') AS folded,
        count() AS payments
    FROM {database}.payments
    WHERE match_status = 'unmatched'
    GROUP BY organization_id, sent_id
) AS p
INNER JOIN
(
    SELECT organization_id, id, external_id, replaceRegexpOne(lowerUTF8(replaceRegexpAll(external_id, '\\s', '')), '^0+', '') AS folded
    FROM {database}.connections
    WHERE NOT archived
) AS c ON c.organization_id = p.organization_id AND c.folded = p.folded
WHERE p.folded != '' AND trimBoth(c.external_id) != p.sent_id
COMMENT 'Unmatched payments whose id nearly equals the external_id of a connection';
