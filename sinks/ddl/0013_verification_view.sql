-- The evidence per connection, worked out at the moment of asking.
CREATE OR REPLACE VIEW {database}.verification_as_known
(
    organization_id String COMMENT 'Organisation that owns the connection',
    project_id String COMMENT 'Project of the connection',
    connection_id String COMMENT 'Connection',
    external_id String COMMENT 'Id of the connection that METER_ID or EXTERNAL_ID of its payments equals',
    verified Bool COMMENT 'At least one counted payment',
    payments UInt64 COMMENT 'Number of counted payments',
    first_payment Nullable(DateTime64(3, 'UTC')) COMMENT 'TIMESTAMP of the first counted payment, UTC; NULL for none',
    last_payment Nullable(DateTime64(3, 'UTC')) COMMENT 'TIMESTAMP of the last counted payment, UTC; NULL for none',
    totals Map(String, Decimal(38, 9)) COMMENT 'PAYMENT_AMOUNT of counted payments by currency, in units of the currency',
    totals_by_type Map(String, Map(String, Decimal(38, 9))) COMMENT 'PAYMENT_AMOUNT as sent by currency and TRANSACTION_TYPE (empty key: none given), STATUS error and pending left out',
    net_totals Map(String, Decimal(38, 9)) COMMENT 'By currency: payments as received, reversed ones included, less the amounts of REVERSALs without sign, each where its own METER_ID is',
    energy_wh Decimal(38, 6) COMMENT 'Energy of its device in Wh, see reads.energy_wh; 0 without a device',
    device_id String COMMENT 'Device named by the connection, else the only one of the project whose external id or serial number equals external_id; empty for none'
)
AS SELECT
    c.organization_id AS organization_id,
    c.project_id AS project_id,
    c.id AS connection_id,
    c.external_id AS external_id,
    CAST(p.payments > 0, 'Bool') AS verified,
    p.payments AS payments,
    p.first_payment AS first_payment,
    p.last_payment AS last_payment,
    p.totals AS totals,
    p.totals_by_type AS totals_by_type,
    p.net_totals AS net_totals,
    r.energy_wh AS energy_wh,
    d.device_id AS device_id
FROM {database}.connections_as_known(at = {at:DateTime64(3, 'UTC')}) AS c
LEFT JOIN
(
    SELECT
        organization_id,
        connection_id,
        sum(counted) AS payments,
        min(earliest) AS first_payment,
        max(latest) AS last_payment,
        mapFromArrays(groupArrayIf(currency, counted > 0), groupArrayIf(total, counted > 0)) AS totals,
        mapFromArrays(groupArray(currency), groupArray(by_type)) AS totals_by_type,
        mapFromArrays(groupArrayIf(currency, moved > 0), groupArrayIf(net, moved > 0)) AS net_totals
    FROM
    (
        SELECT
            organization_id,
            connection_id,
            toString(payment_currency) AS currency,
            sum(g_counted) AS counted,
            min(g_earliest) AS earliest,
            max(g_latest) AS latest,
            sum(g_total) AS total,
            sum(g_moved) AS moved,
            sum(g_net) AS net,
            sumMap(map(toString(transaction_type), g_sent)) AS by_type
        FROM
        (
            WITH
                arrayFilter(x -> (v.dataset_id = '' OR (v.organization_id, v.dataset_id, x.1) IN (SELECT organization_id, dataset_id, project_id FROM {database}.dataset_scopes_as_known(at = {at:DateTime64(3, 'UTC')})))
                    AND ifNull(x.3 <= v.moment, true) AND ifNull(v.moment < x.4, true), m.candidates) AS by_meter,
                arrayFilter(x -> (v.dataset_id = '' OR (v.organization_id, v.dataset_id, x.1) IN (SELECT organization_id, dataset_id, project_id FROM {database}.dataset_scopes_as_known(at = {at:DateTime64(3, 'UTC')})))
                    AND ifNull(x.3 <= v.moment, true) AND ifNull(v.moment < x.4, true), e.candidates) AS by_external,
                if(empty(by_meter), by_external, by_meter) AS found
            SELECT
                v.organization_id AS organization_id,
                found[1].2 AS connection_id,
                v.payment_currency AS payment_currency,
                v.transaction_type AS transaction_type,
                v.g_counted AS g_counted,
                v.g_earliest AS g_earliest,
                v.g_latest AS g_latest,
                v.g_total AS g_total,
                v.g_moved AS g_moved,
                v.g_net AS g_net,
                v.g_sent AS g_sent
            FROM
            (
                -- Grouped before it is matched: validity matters only for connections that have bounds.
                WITH
                    (transaction_type = 'REVERSAL' AND state != 'open') AS refund,
                    (is_payment AND payment_amount > 0 AND (state = 'settled' OR (state = 'reversed' AND reversed))) AS received
                SELECT
                    organization_id,
                    dataset_id,
                    meter_id,
                    external_id,
                    payment_currency,
                    transaction_type,
                    if((organization_id, meter_id) IN (SELECT organization_id, external_id FROM {database}.bounded_ids_as_known(at = {at:DateTime64(3, 'UTC')}))
                        OR (organization_id, external_id) IN (SELECT organization_id, external_id FROM {database}.bounded_ids_as_known(at = {at:DateTime64(3, 'UTC')})),
                        timestamp, toDateTime64(0, 3, 'UTC')) AS moment,
                    countIf(countable) AS g_counted,
                    minOrNullIf(timestamp, countable) AS g_earliest,
                    maxOrNullIf(timestamp, countable) AS g_latest,
                    sumIf(payment_amount, countable) AS g_total,
                    countIf(received OR refund) AS g_moved,
                    sumIf(payment_amount, received) - sumIf(abs(payment_amount), refund) AS g_net,
                    sumIf(payment_amount, state != 'open') AS g_sent
                FROM {database}.payments_in_force_as_known(at = {at:DateTime64(3, 'UTC')})
                GROUP BY organization_id, dataset_id, meter_id, external_id, payment_currency, transaction_type, moment
            ) AS v
            LEFT JOIN {database}.match_candidates_as_known(at = {at:DateTime64(3, 'UTC')}) AS m ON m.organization_id = v.organization_id AND m.external_id = v.meter_id
            LEFT JOIN {database}.match_candidates_as_known(at = {at:DateTime64(3, 'UTC')}) AS e ON e.organization_id = v.organization_id AND e.external_id = v.external_id
            WHERE length(found) = 1
        )
        GROUP BY organization_id, connection_id, currency
    )
    GROUP BY organization_id, connection_id
) AS p ON p.organization_id = c.organization_id AND p.connection_id = c.id
LEFT JOIN {database}.connection_devices_as_known(at = {at:DateTime64(3, 'UTC')}) AS d ON d.connection_id = c.id
LEFT JOIN
(
    SELECT organization_id, device_id, sum(energy_wh) AS energy_wh
    FROM {database}.reads_as_known(at = {at:DateTime64(3, 'UTC')})
    GROUP BY organization_id, device_id
) AS r ON r.organization_id = c.organization_id AND r.device_id = d.device_id
WHERE NOT c.archived
COMMENT 'One row per connection in use: is it real and in use. As known at the moment `at`';
