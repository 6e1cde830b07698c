"""Every metric of the producers, declared once."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

PUBLISHED: Final = Counter(
    "sunledger_published_records_total", "Records the broker has acknowledged.", ["topic"]
)
PUBLISH_FAILURES: Final = Counter(
    "sunledger_publish_failures_total",
    "Records that were not acknowledged, by error name.",
    ["topic", "error"],
)
TIME_TO_ACK: Final = Histogram(
    "sunledger_publish_ack_seconds",
    "From handing a group of records over to its last acknowledgement.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
BROKER_ERRORS: Final = Counter(
    "sunledger_publisher_broker_errors_total", "Errors librdkafka reported about its connections.", ["error"]
)
FILES: Final = Counter("sunledger_files_total", "Files that reached an end, by result.", ["result"])
FILE_ROWS: Final = Counter(
    "sunledger_file_rows_total", "Rows read from files and acknowledged by the broker, by kind.", ["kind"]
)
RUNS: Final = Counter("sunledger_runs_total", "Runs of datasets, by how they ended.", ["state"])
DATASET_FAILURES: Final = Gauge(
    "sunledger_dataset_failures",
    "Runs of a dataset that failed one after the other; a dataset whose last run did not fail is not shown.",
    ["dataset_id"],
)
LEASES_LOST: Final = Counter(
    "sunledger_poller_leases_lost_total", "Runs given up because another poller had taken the dataset."
)
POLL_FAILURES: Final = Counter(
    "sunledger_poll_failures_total", "Steps put off by an outage, by part.", ["part"]
)
LAST_POLL: Final = Gauge(
    "sunledger_last_poll_timestamp_seconds",
    "When a poller of the process last looked for runs (seconds since 1970).",
)
POLLERS_MOVED: Final = Gauge(
    "sunledger_poller_moved_timestamp_seconds",
    "When a poller of the process took its last step, waiting included (seconds since 1970).",
    ["poller"],
)
