"""The batch transport: Faust's agents, groups and rebalancing without its price per message.

Faust's own transport hands every record to an agent by itself. This one hands over one message per
fetched batch of a partition, and keeps the books itself: which offset is expected, which batches are
finished, what may be committed. Read in this order: `batch`, `offsets`, `spans`, `thread`,
`consumer`, `driver`.
"""

from streams.transport.batch import Batch
from streams.transport.driver import BatchTransport, batch_topic, batches
from streams.transport.errors import OffsetsWentBack, TransportError, UnexplainedHole

__all__ = [
    "Batch",
    "BatchTransport",
    "OffsetsWentBack",
    "TransportError",
    "UnexplainedHole",
    "batch_topic",
    "batches",
]
