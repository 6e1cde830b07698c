"""What a worker reads back before it judges, in one place.

Everything here may raise the driver's exceptions; `errors.classify` sorts them.
"""

from sinks.epochs import epoch_for
from sinks.index_keys import (
    KEY_OUTCOMES,
    OVERLAP_MS,
    HighWater,
    KeySlice,
    read_high_water,
    server_now_ms,
    stream_keys,
)
from sinks.ledger_outcomes import (
    Orphan,
    ledger_high,
    ledger_next_offset,
    ledger_outcomes,
    ledger_outcomes_of,
    orphans,
    orphans_of,
)
from sinks.stored_versions import stored_payments, stored_reads

__all__ = [
    "KEY_OUTCOMES",
    "OVERLAP_MS",
    "HighWater",
    "KeySlice",
    "Orphan",
    "epoch_for",
    "ledger_high",
    "ledger_next_offset",
    "ledger_outcomes",
    "ledger_outcomes_of",
    "orphans",
    "orphans_of",
    "read_high_water",
    "server_now_ms",
    "stored_payments",
    "stored_reads",
    "stream_keys",
]
