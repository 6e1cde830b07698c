"""`sunledger worker` with one fault in it, named by the first argument: for tests of how it ends."""

import sys
from typing import Any

from streams import gates, restorers, settle
from streams.transport.consumer import BatchConsumer


def fail(*args: Any, **kwargs: Any) -> Any:
    """What nobody expected; its text quotes a row, which no log may."""
    raise ZeroDivisionError("Secret Name")


def with_a_hole() -> None:
    """The client loses the first record of every fetch of payments."""
    fetch = BatchConsumer._wait_next_records

    async def lossy(self: Any, timeout: float) -> Any:
        records, active = await fetch(self, timeout)
        kept = {tp: c[1:] if tp.topic.endswith("payments") else c for tp, c in (records or {}).items()}
        return {tp: chunk for tp, chunk in kept.items() if chunk}, active

    BatchConsumer._wait_next_records = lossy


FAULTS: dict[str, Any] = {
    "agent": lambda: setattr(gates.Gates, "wait", fail),
    "settle": lambda: setattr(settle.Settle, "__call__", fail),
    "restore": lambda: setattr(restorers.Restorer, "__call__", fail),
    "hole": with_a_hole,
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.argv[1:] = ["worker"]
    from sunledger.cli import main

    main()
