-- Which versions count, for the few records that have several; everything else has one version.
CREATE OR REPLACE VIEW {database}.decisions_in_force_as_known
(
    organization_id String COMMENT 'Organisation that owns the record',
    record_type String COMMENT 'payment or read',
    identity UInt64 COMMENT 'Record that is decided about',
    decision_id String COMMENT 'Latest decision about it',
    decision String COMMENT 'keep_first, take_new, count_both or undo',
    selected Array(UInt64) COMMENT 'Content hashes that count; empty: the first version counts',
    known Array(UInt64) COMMENT 'Content hashes known when it was decided',
    decided_by String COMMENT 'rule, or the id of a user',
    rule String COMMENT 'The conflict rule that decided; of a person who decided in bulk the filter as JSON; else empty',
    decided_at DateTime64(3, 'UTC') COMMENT 'When it was decided, UTC, milliseconds'
)
AS SELECT organization_id, toString(record_type) AS record_type, identity, decision_id, toString(decision) AS decision, selected, known, decided_by, rule, in_force_from AS decided_at
FROM
(
    -- A decision that is written again after a crash stays what it was at first, merged or not.
    SELECT *, in_force_from FROM {database}.decisions
    WHERE stored_at <= {at:DateTime64(3, 'UTC')}
    ORDER BY stored_at
    LIMIT 1 BY organization_id, identity, decision_id
)
ORDER BY in_force_from DESC, decision_id DESC
LIMIT 1 BY organization_id, record_type, identity
SETTINGS use_query_condition_cache = 0
COMMENT 'The latest decision about each record. As known at the moment `at`';

-- A payment is a case when it has several contents, whatever its versions were called when they were stored: two
-- that were both accepted must not both count. Only those that count do so by outcome; outcomes are history.
CREATE OR REPLACE VIEW {database}.payment_versions_in_case_as_known
(
    organization_id String COMMENT 'Organisation that owns the payment',
    identity UInt64 COMMENT 'Payment that several versions may be stored of',
    versions Array(UInt64) COMMENT 'Content hashes of all its versions, the accepted one first, then as they were stored'
)
AS SELECT
    organization_id,
    identity,
    arrayDistinct(arrayConcat(
        [argMin(content_hash, (outcome != 'accepted', position))],
        arrayMap(x -> x.3, arraySort(groupArray((stored_at, position, content_hash)))))) AS versions
FROM {database}.payment_versions
WHERE stored_at <= {at:DateTime64(3, 'UTC')}
    -- Rows, not contents, are counted here: one column less to read, and a version stored twice does no harm.
    AND identity IN (SELECT identity FROM {database}.payment_versions GROUP BY identity HAVING count() > 1)
GROUP BY organization_id, identity
SETTINGS use_query_condition_cache = 0
COMMENT 'Payments with several versions. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.payments_set_aside_as_known
(
    identity UInt64 COMMENT 'Payment with several versions',
    content_hash UInt64 COMMENT 'Version that does not count'
)
AS SELECT
    v.identity AS identity,
    arrayJoin(arrayFilter(x -> NOT has(if(hasAny(v.versions, d.selected), d.selected, [v.versions[1]]), x), v.versions)) AS content_hash
FROM {database}.payment_versions_in_case_as_known(at = {at:DateTime64(3, 'UTC')}) AS v
LEFT JOIN
(
    SELECT * FROM {database}.decisions_in_force_as_known(at = {at:DateTime64(3, 'UTC')}) WHERE record_type = 'payment'
) AS d ON d.organization_id = v.organization_id AND d.identity = v.identity
COMMENT 'Versions of payments that do not count: by the latest decision, without one all but the first. As known at the moment `at`';

-- Reads are too many to be counted so. Two accepted versions of a read are reported by the verifier and listed in
-- `conflicts`; a decision about them is obeyed.
CREATE OR REPLACE VIEW {database}.read_versions_in_case_as_known
(
    organization_id String COMMENT 'Organisation that owns the read',
    identity UInt64 COMMENT 'Read with a version that was stored as a conflict, or with a decision',
    versions Array(UInt64) COMMENT 'Content hashes of all its versions, the accepted one first, then as they were stored'
)
AS SELECT
    organization_id,
    identity,
    arrayDistinct(arrayConcat(
        [argMin(content_hash, (outcome != 'accepted', position))],
        arrayMap(x -> x.3, arraySort(groupArray((stored_at, position, content_hash)))))) AS versions
FROM {database}.read_versions
WHERE stored_at <= {at:DateTime64(3, 'UTC')}
    AND identity IN
    (
        SELECT identity FROM {database}.read_versions WHERE outcome = 'conflict' AND stored_at <= {at:DateTime64(3, 'UTC')}
        UNION DISTINCT
        SELECT identity FROM {database}.decisions WHERE record_type = 'read' AND stored_at <= {at:DateTime64(3, 'UTC')}
    )
GROUP BY organization_id, identity
SETTINGS use_query_condition_cache = 0
COMMENT 'Reads with a version stored as a conflict, or a decision. As known at the moment `at`';

CREATE OR REPLACE VIEW {database}.reads_set_aside_as_known
(
    identity UInt64 COMMENT 'Read with several versions',
    content_hash UInt64 COMMENT 'Version that does not count'
)
AS SELECT
    v.identity AS identity,
    arrayJoin(arrayFilter(x -> NOT has(if(hasAny(v.versions, d.selected), d.selected, [v.versions[1]]), x), v.versions)) AS content_hash
FROM {database}.read_versions_in_case_as_known(at = {at:DateTime64(3, 'UTC')}) AS v
LEFT JOIN
(
    SELECT * FROM {database}.decisions_in_force_as_known(at = {at:DateTime64(3, 'UTC')}) WHERE record_type = 'read'
) AS d ON d.organization_id = v.organization_id AND d.identity = v.identity
COMMENT 'Versions of reads that do not count: by the latest decision, without one all but the first. As known at the moment `at`';
