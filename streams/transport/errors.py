"""What can go wrong in the transport, each an end of the process.

    TransportError
    ├── UnexplainedHole   records are missing and the broker does not say why
    ├── OffsetsWentBack   the log is shorter than what was committed
    ├── TopicRecreated    the topic's id changed under the worker
    └── PartitionsAdded   the topic has more partitions than the worker restored for

None of them is retried inside the process: it ends with a non-zero exit and starts again from the
committed offset, where nothing was acknowledged that is not stored.
"""


class TransportError(Exception):
    """The transport cannot go on without losing or repeating rows unseen."""


class UnexplainedHole(TransportError):
    """A batch does not start where the last one ended, twice, and nothing explains it."""

    def __init__(self, topic: str, partition: int, expected: int, found: int) -> None:
        super().__init__(
            f"{topic}[{partition}]: expected offset {expected}, found {found} twice, and neither "
            "retention, compaction nor a transaction marker explains the hole"
        )


class OffsetsWentBack(TransportError):
    """The broker returned or ends below an offset that is already committed."""

    def __init__(self, topic: str, partition: int, expected: int, found: int) -> None:
        super().__init__(
            f"{topic}[{partition}]: expected offset {expected}, the log is at {found}: it was cut off "
            "or made anew; check the broker before starting again"
        )


class TopicRecreated(TransportError):
    """The topic was deleted and made again while the worker ran."""

    def __init__(self, topic: str, before: str, now: str) -> None:
        super().__init__(f"topic {topic} was made anew: its id was {before} and is {now}")


class PartitionsAdded(TransportError):
    """Partitions were added while the worker ran: homes moved under its index."""

    def __init__(self, topic: str, before: int, now: int) -> None:
        super().__init__(
            f"topic {topic} had {before} partitions and has {now}: stop all workers before adding any"
        )
