CREATE TABLE IF NOT EXISTS {database}.decisions
(
    decision_id String COMMENT 'Id of the decision; the same for a replay of the same decision',
    organization_id String COMMENT 'Organisation that owns the record',
    record_type LowCardinality(String) COMMENT 'payment or read',
    identity UInt64 COMMENT 'Record that is decided about',
    decision LowCardinality(String) COMMENT 'keep_first, take_new, count_both or undo',
    selected Array(UInt64) COMMENT 'Content hashes that count; empty: the first version counts',
    known Array(UInt64) COMMENT 'Content hashes known when it was decided; a further one opens the case again. An undo has selected and known of the decision that it puts back in force, both empty for none',
    decided_by String COMMENT 'rule, or the id of a user',
    rule String COMMENT 'The conflict rule that decided; of a person who decided in bulk the filter as JSON; else empty',
    decided_at DateTime64(3, 'UTC') COMMENT 'When it was decided, clock of the server, UTC, milliseconds; of a rule, before it looked at anything',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds',
    in_force_from DateTime64(3, 'UTC') MATERIALIZED if(decided_by = 'rule', decided_at, greatest(decided_at, stored_at)) COMMENT 'Orders decisions: decided_at, of a person not before stored_at. So a person outweighs a rule that could not know his decision',
    first_wins UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Milli(stored_at) COMMENT 'Inverted stored_at: the row stored first survives a merge',
    INDEX by_identity identity TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(first_wins)
ORDER BY (organization_id, identity, decision_id)
SETTINGS fsync_after_insert = 1
COMMENT 'Decisions about records with several versions: appended, never edited';
