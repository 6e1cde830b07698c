-- Records with several versions. Worked out from what is stored, not from what was called a conflict.
CREATE OR REPLACE VIEW {database}.conflicts
(
    organization_id String COMMENT 'Organisation that owns the record',
    record_type String COMMENT 'payment or read',
    record_id String COMMENT 'Seed field ID of a payment; of a read device external id, type and end',
    identity UInt64 COMMENT 'Hash that names the record',
    versions Array(Tuple(content_hash UInt64, position UInt64, counting Bool, outcome String, dataset_id String, source_ref String, line UInt32, received_at DateTime64(3, 'UTC'), stored_at DateTime64(3, 'UTC'))) COMMENT 'All versions, the accepted one first, then as they were stored: what was sent where and when, and whether it counts now',
    differing_fields Array(String) COMMENT 'Fields that two versions both supplied with different values; STATUS when one holds the payment back and another has none, TRANSACTION_TYPE when one is a REVERSAL and another has none, PAYMENT_CURRENCY when it is not the default of another; personal fields are not compared',
    decision String COMMENT 'Latest decision: keep_first, take_new, count_both or undo; empty for none',
    decision_id String COMMENT 'Id of the latest decision; empty for none',
    decided_by String COMMENT 'rule, or the id of a user; empty for none',
    decided_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was decided, UTC; NULL for none',
    open Bool COMMENT 'Nothing decided yet, or undone with nothing decided before, or a version came after the decision'
)
AS SELECT organization_id, record_type, record_id, identity, versions, differing_fields, decision, decision_id, decided_by, decided_at, open
FROM
(
    SELECT
        v.organization_id AS organization_id,
        'payment' AS record_type,
        v.record_id AS record_id,
        v.identity AS identity,
        arrayMap(x -> (x.2, x.1, has(counting, x.2), x.3, x.4, x.5, x.6, x.7, x.8), stored) AS versions,
        v.differing_fields AS differing_fields,
        d.decision AS decision,
        d.decision_id AS decision_id,
        d.decided_by AS decided_by,
        if(d.decision_id = '', NULL, d.decided_at) AS decided_at,
        CAST(NOT hasAll(d.known, v.hashes), 'Bool') AS open,
        if(hasAny(v.hashes, d.selected), d.selected, [v.hashes[1]]) AS counting
    FROM
    (
        SELECT
            organization_id,
            identity,
            argMin(id, position) AS record_id,
            argMin(content_hash, (outcome != 'accepted', position)) AS first_version,
            arraySort(x -> (x.2 != first_version, x.8, x.1), groupArray((position, content_hash, toString(outcome), dataset_id, source_ref, line, received_at, stored_at))) AS stored,
            arrayMap(x -> x.2, stored) AS hashes,
            arrayFlatten(groupArray(arrayConcat(
                arrayFilter(x -> has(supplied, x.1), [
                ('TIMESTAMP', ifNull(toString(timestamp), '')),
                ('PAYMENT_AMOUNT', ifNull(toString(payment_amount), '')),
                ('TRANSACTION_TYPE', ifNull(toString(transaction_type), '')),
                ('TRANSACTION_CHARGES', ifNull(toString(transaction_charges), '')),
                ('REFERENCE_ID', ifNull(toString(reference_id), '')),
                ('CUSTOMER_ID', ifNull(toString(customer_id), '')),
                ('METER_ID', ifNull(toString(meter_id), '')),
                ('EXTERNAL_ID', ifNull(toString(external_id), '')),
                ('CUSTOMER_CATEGORY', ifNull(toString(customer_category), '')),
                ('FINANCING_ID', ifNull(toString(financing_id), '')),
                ('LATITUDE', ifNull(toString(latitude), '')),
                ('LONGITUDE', ifNull(toString(longitude), '')),
                ('UTILITY_ID', ifNull(toString(utility_id), '')),
                ('FAILED_BATTERY_CAPACITY_COUNT', ifNull(toString(failed_battery_capacity_count), '')),
                ('ACCOUNT_TYPE', ifNull(toString(account_type), '')),
                ('STATUS', ifNull(toString(status), '')),
                ('NOTES', ifNull(toString(notes), '')),
                ('PAYMENT_SOURCE', ifNull(toString(payment_source), '')),
                ('SOURCE', ifNull(toString(source_field), ''))]),
                [('PAYMENT_CURRENCY', toString(payment_currency))],
                if(has(supplied, 'custom'), arrayMap((k, t) -> (concat('custom.', k), t), mapKeys(custom), mapValues(custom)), [])))) AS cells,
            -- The same name of a currency under another default is the same content; another currency than the default is not.
            uniqExact(lower(trimBoth(currency_given))) AS currencies_given,
            -- A status with which a payment does not count differs from none.
            countIf(NOT has(supplied, 'STATUS')) AS without_status,
            countIf(has(supplied, 'STATUS') AND lower(trimBoth(status)) IN ('reversed', 'error', 'pending')) AS held_back,
            -- So does a reversal from a version without a type.
            countIf(NOT has(supplied, 'TRANSACTION_TYPE')) AS without_type,
            countIf(transaction_type = 'REVERSAL') AS reversals,
            arraySort(arrayFilter(
                f -> (f = 'STATUS' AND held_back > 0 AND without_status > 0)
                    OR (f = 'TRANSACTION_TYPE' AND reversals > 0 AND without_type > 0)
                    OR ((f != 'PAYMENT_CURRENCY' OR currencies_given > 1) AND arrayUniq(arrayMap(y -> y.2, arrayFilter(y -> y.1 = f, cells))) > 1),
                arrayDistinct(arrayMap(x -> x.1, cells)))) AS differing_fields
        FROM {database}.payment_versions FINAL
        PREWHERE identity IN
        (
            SELECT identity FROM {database}.payment_versions GROUP BY identity HAVING count() > 1
        )
        GROUP BY organization_id, identity
        HAVING uniqExact(content_hash) > 1
    ) AS v
    LEFT JOIN
    (
        SELECT * FROM {database}.decisions_in_force WHERE record_type = 'payment'
    ) AS d ON d.organization_id = v.organization_id AND d.identity = v.identity
    UNION ALL
    SELECT
        v.organization_id AS organization_id,
        'read' AS record_type,
        v.record_id AS record_id,
        v.identity AS identity,
        arrayMap(x -> (x.2, x.1, has(counting, x.2), x.3, x.4, x.5, x.6, x.7, x.8), stored) AS versions,
        v.differing_fields AS differing_fields,
        d.decision AS decision,
        d.decision_id AS decision_id,
        d.decided_by AS decided_by,
        if(d.decision_id = '', NULL, d.decided_at) AS decided_at,
        CAST(NOT hasAll(d.known, v.hashes), 'Bool') AS open,
        if(hasAny(v.hashes, d.selected), d.selected, [v.hashes[1]]) AS counting
    FROM
    (
        SELECT
            organization_id,
            identity,
            argMin(concat(device_external_id, ' ', toString(type), ' ', toString(end)), position) AS record_id,
            argMin(content_hash, (outcome != 'accepted', position)) AS first_version,
            arraySort(x -> (x.2 != first_version, x.8, x.1), groupArray((position, content_hash, toString(outcome), dataset_id, source_ref, line, received_at, stored_at))) AS stored,
            arrayMap(x -> x.2, stored) AS hashes,
            if(uniqExact(value_wh) > 1, ['value'], []) AS differing_fields
        FROM {database}.read_versions FINAL
        PREWHERE identity IN
        (
            SELECT identity
            FROM {database}.read_versions
            GROUP BY organization_id, device_id, type, end, identity
            HAVING min(content_hash) != max(content_hash)
        )
        GROUP BY organization_id, identity
        HAVING uniqExact(content_hash) > 1
    ) AS v
    LEFT JOIN
    (
        SELECT * FROM {database}.decisions_in_force WHERE record_type = 'read'
    ) AS d ON d.organization_id = v.organization_id AND d.identity = v.identity
)
SETTINGS optimize_aggregation_in_order = 1
COMMENT 'One row per record with several versions, and what was decided about it';
