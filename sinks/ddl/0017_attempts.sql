-- What a worker took in hand first after an assignment: a batch that several processes died with shows here.
CREATE TABLE IF NOT EXISTS {database}.attempts
(
    topic LowCardinality(String) COMMENT 'Topic',
    epoch UInt8 COMMENT 'Epoch of the topic id, see topic_epochs',
    partition UInt16 COMMENT 'Partition',
    offset UInt64 COMMENT 'First offset of the batch or chunk, or offset of the row',
    kind LowCardinality(String) COMMENT 'batch; chunk or row when the batch was taken in pieces; chunk_done or done when that piece was settled; batch_done when the brake held the batch back',
    worker String COMMENT 'Name of the worker process',
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was stored, clock of the server, UTC, milliseconds'
)
ENGINE = MergeTree
ORDER BY (topic, epoch, partition, offset)
TTL toDateTime(stored_at) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1
COMMENT 'Batches taken in hand first after an assignment, and their pieces; two of the same without an end mean two deaths';
