"""Every metric of the worker, declared once. Labels hold topics, outcomes and reason codes, never values."""

from prometheus_client import Counter, Gauge, Histogram

ROWS_IN = Counter("sunledger_rows_in_total", "Records fetched from a topic.", ["topic"])
OUTCOMES = Counter("sunledger_outcomes_total", "Rows by outcome.", ["topic", "outcome"])
REASONS = Counter("sunledger_reasons_total", "Quarantined rows by reason code.", ["topic", "code"])
FORWARDED = Counter(
    "sunledger_forwarded_total", "Rows sent on to the partition of their identity.", ["topic"]
)
REPLAYED = Counter("sunledger_replayed_total", "Redelivered rows that already had an outcome.", ["topic"])
MATCHED = Counter("sunledger_matched_total", "Accepted payments by match at write time (a hint).", ["result"])
LOST = Counter("sunledger_lost_offsets_total", "Offsets that retention deleted unread.", ["topic"])
BATCH_ROWS = Histogram(
    "sunledger_batch_rows",
    "Rows of one turn.",
    ["topic"],
    buckets=(1, 10, 100, 1000, 5000, 20000, 50000, 100000),
)
TURN_SECONDS = Histogram(
    "sunledger_turn_seconds",
    "Time of a turn's steps.",
    ["topic", "step"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STORED_SECONDS = Histogram(
    "sunledger_receipt_to_stored_seconds",
    "From receipt to stored, the oldest row of each turn.",
    ["topic"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
STORE_RETRIES = Counter("sunledger_store_retries_total", "Writes tried again.", ["topic"])
STORE_REFUSED = Counter("sunledger_store_refused_total", "Rows that the store refused.", ["topic"])
LAG = Gauge(
    "sunledger_lag_offsets",
    "Offsets between the end of a partition and what is stored.",
    ["topic", "partition"],
)
RESTORE_SECONDS = Histogram("sunledger_restore_seconds", "Time to restore a partition's index.", ["topic"])
INDEX_KEYS = Gauge("sunledger_index_keys", "Keys held in the deduplication index.", ["topic"])
REGISTRY_OBJECTS = Gauge("sunledger_registry_objects", "Registry objects known to the worker.", ["kind"])
TOPIC_STOPPED = Gauge(
    "sunledger_topic_stopped", "1 while a topic is held back: most organisations fail together.", ["topic"]
)
DATASETS_FAILING = Counter(
    "sunledger_datasets_failing_total", "Alerts about datasets whose rows fail.", ["topic"]
)
REQUEUED = Counter(
    "sunledger_requeued_total", "Quarantined rows replayed because their object appeared.", ["kind"]
)
