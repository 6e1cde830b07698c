"""Every metric of the API, declared once. Labels are routes, codes and states: never ids or values."""

from typing import Final

from prometheus_client import Counter, Histogram

REQUESTS: Final = Histogram(
    "sunledger_api_request_seconds",
    "Time from the first byte of a request to the last of its answer, by route template and status.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ROWS_IN: Final = Counter(
    "sunledger_api_rows_in_total",
    "Reads taken in and acknowledged by the broker, by verdict of the request check.",
    ["verdict"],
)
PAYMENTS_IN: Final = Counter(
    "sunledger_api_payments_in_total",
    "Payments taken in by requests and acknowledged by the broker, by verdict of the request check.",
    ["verdict"],
)
PUBLISH_FAILURES: Final = Counter(
    "sunledger_api_publish_failures_total", "Requests answered 503 because the broker did not acknowledge."
)
TOKEN_CHECKS: Final = Counter(
    "sunledger_api_token_checks_total",
    "Checks of device and organisation tokens, by who answered (redis, sql, memory) and the result.",
    ["by", "result"],
)
RATE_LIMITED: Final = Counter(
    "sunledger_api_rate_limited_total", "Requests answered 429, by limit.", ["limit"]
)
QUARANTINE_ACTIONS: Final = Counter(
    "sunledger_quarantine_actions_total",
    "Refused rows that people acted on, by what they did (replayed, discarded, restored).",
    ["action"],
)
UPLOADS: Final = Counter(
    "sunledger_uploads_total",
    "Uploads that reached an end, by state (published, failed, cancelled).",
    ["state"],
)
