-- What the verifier needs beside the counts of a range: which offsets have no ledger row of their own, and why.
ALTER TABLE {database}.ledger_ranges
    ADD COLUMN IF NOT EXISTS copies Array(UInt64) COMMENT 'Offsets of records that were forwarded here: their ledger rows have the position of their origin',
    ADD COLUMN IF NOT EXISTS markers Array(UInt64) COMMENT 'Offsets that hold no record: transaction markers';

-- New rows are compared with the ledger all the time; without these every comparison would read whole tables.
ALTER TABLE {database}.payment_versions
    ADD INDEX IF NOT EXISTS by_stored_at stored_at TYPE minmax GRANULARITY 1;

ALTER TABLE {database}.read_versions
    ADD INDEX IF NOT EXISTS by_stored_at stored_at TYPE minmax GRANULARITY 1;
