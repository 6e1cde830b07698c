"""Faust's view of the batch transport: a transport class, a topic and a stream of batches."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
from faust.transport.drivers.aiokafka import Transport

from streams.transport.batch import Batch
from streams.transport.consumer import BatchConsumer
from streams.transport.listener import Listener


class BatchSchema(faust.Schema):  # type: ignore[misc]
    """Decodes nothing: a record that cannot be decoded must reach the agent, not Faust's error path."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """Batches have no key."""

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Batch:
        """The batch in the envelope."""
        batch: Batch = message.batch
        return batch


class BatchTransport(Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with `BatchConsumer` in the consumer's place."""

    def __init__(
        self,
        *args: Any,
        listener: Listener | None = None,
        compacted: frozenset[str] = frozenset(),
        hand_over_s: float = 20.0,
        log_id: Callable[[str], str] = lambda topic: "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        settings: dict[str, Any] = {
            "compacted": compacted,
            "hand_over_s": hand_over_s,
            "log_id": staticmethod(log_id),
        }
        if listener is not None:
            settings["listener"] = listener
        # Faust instantiates the class itself, so what it needs is set on a class of this transport
        self.Consumer = type("BatchConsumer", (BatchConsumer,), settings)


def batch_topic(app: faust.App, *names: str) -> Any:
    """A Faust topic whose values are batches; it must exist, nothing is declared."""
    return app.topic(*names, schema=BatchSchema(), internal=False, acks=True)


async def batches(stream: Any) -> AsyncIterator[Batch]:
    """The batches of an agent's stream, taken in hand one after the other."""
    async for batch in stream.noack():
        yield batch
