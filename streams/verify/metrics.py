"""Every metric of the verifier, declared once. Labels hold topics, partitions and kinds."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

FAULTY: Final = Gauge(
    "sunledger_verify_faulty_offsets",
    "Offsets (of miscount: ranges) that are wrong now, by kind of fault.",
    ["topic", "kind"],
)
FAULTS: Final = Counter("sunledger_verify_faults_total", "Faults found, by kind.", ["topic", "kind"])
SUSPICIONS: Final = Gauge(
    "sunledger_verify_suspicions", "Findings that wait for a second look, or for rows on their way."
)
VERIFIED: Final = Gauge(
    "sunledger_verified_offset", "Offset up to which a partition was compared.", ["topic", "partition"]
)
PASS_SECONDS: Final = Histogram(
    "sunledger_verify_pass_seconds",
    "Time of one pass over all topics.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
LAST_PASS: Final = Gauge(
    "sunledger_verify_last_pass_timestamp_seconds", "When a pass last came to its end (seconds since 1970)."
)
LAST_FULL_PASS: Final = Gauge(
    "sunledger_verify_last_full_pass_timestamp_seconds",
    "When all offsets were last compared (seconds since 1970).",
)
FAILURES: Final = Counter(
    "sunledger_verify_failures_total", "Passes that ended early because a part was away.", ["part"]
)
