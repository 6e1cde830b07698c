"""Metrics of what runs in the producers process on the registry's database: relay, reconciler, brakes.

Gauges have a label: without one they would show as 0 in every process that imports this.
"""

from typing import Final

from prometheus_client import Counter, Gauge

OUTBOX_WAITING: Final = Gauge(
    "sunledger_outbox_waiting", "Registry messages the relay has not published yet, as last seen.", ["kind"]
)
OUTBOX_PUBLISHED: Final = Counter(
    "sunledger_outbox_published_total", "Registry messages acknowledged by the broker, by kind.", ["kind"]
)
OUTBOX_FAILURES: Final = Counter(
    "sunledger_outbox_failures_total", "Attempts of the relay that failed, by part that failed.", ["part"]
)
DATASETS_PAUSED: Final = Counter(
    "sunledger_datasets_paused_total", "Datasets paused by the brake because their rows fail.", ["topic"]
)
RECONCILED: Final = Counter(
    "sunledger_registry_reconciled_total",
    "Registry messages queued again because the topic lacked them.",
    ["kind"],
)
