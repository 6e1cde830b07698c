-- Receipts by their reference. The filter of before let one granule in two through when fifty receipts were
-- asked for at once; receipts of devices' requests sort by time, so a stretch of time is a range of them.
ALTER TABLE {database}.ledger_rows DROP INDEX IF EXISTS by_source_ref;

ALTER TABLE {database}.ledger_rows
    ADD INDEX IF NOT EXISTS by_receipt source_ref TYPE bloom_filter(0.0001) GRANULARITY 1;

ALTER TABLE {database}.ledger_rows
    ADD INDEX IF NOT EXISTS by_receipt_range source_ref TYPE minmax GRANULARITY 1;

ALTER TABLE {database}.ledger_rows MATERIALIZE INDEX by_receipt;

ALTER TABLE {database}.ledger_rows MATERIALIZE INDEX by_receipt_range;
