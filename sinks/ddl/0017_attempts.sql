-- What a worker took in hand first after an assignment: a batch that several processes died with shows here.
CREATE TABLE IF NOT EXISTS {database}.attempts
(
    topic LowCardinality(String) COMMENT 'Topic',
    epoch UInt8 COMMENT 'Epoch of the topic id, see topic_epochs',
    partition UInt16 COMMENT 'Partition',
    offset UInt64 COMMENT 'First offset of the batch, or offset of the row',
    kind LowCardinality(String) COMMENT 'batch; row when the batch was taken row by row; done when that row was settled',
    worker String COMMENT 'Name of the worker process',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds'
)
ENGINE = MergeTree
ORDER BY (topic, epoch, partition, offset)
TTL toDateTime(stored_at) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1
COMMENT 'Batches and rows taken in hand first after an assignment; two of the same mean two process deaths';
