"""The registry of topics: name, key, partitions, homes, retention, for every topic there is.

It creates the topics, and the generated documents are written from it, so nothing else names a topic.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

HOMES: Final = 256
"""Homes of every data topic: a power of two, pinned for ever.

An identity's home never changes; the partition is `home % partitions`, so partitions may be added
(up to this number) without moving an identity between homes.
"""

MAX_ROW_BYTES: Final = 900_000
"""Largest record of a row, key and headers included: sent on it gets more of them, and must still fit."""

DAY_MS: Final = 86_400_000
RegistryKind = Literal["organizations", "projects", "devices", "connections", "datasets"]
REGISTRY_KINDS: Final[tuple[RegistryKind, ...]] = get_args(RegistryKind)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it is created on the broker.

    Attributes:
        name: name without the installation's prefix.
        key: what the record key holds.
        partitions: default number of partitions.
        retention_ms: how long the broker keeps a record, by ingest time (milliseconds); -1 for ever.
        compacted: keep the newest record of each key instead of deleting by age.
        summary: one sentence for the documents.
    """

    name: str
    key: str
    partitions: int
    retention_ms: int
    compacted: bool
    summary: str

    def full_name(self, prefix: str) -> str:
        """The name on the broker: the installation's prefix and this topic's name."""
        return f"{prefix}{self.name}"

    def config(self) -> dict[str, str]:
        """Topic settings. Record time is ingest time, so a late event time never meets retention."""
        return {
            "message.timestamp.type": "LogAppendTime",
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
        }


PAYMENTS: Final = TopicSpec(
    "payments",
    "netstrings of organisation, id namespace and ID",
    4,
    7 * DAY_MS,
    False,
    "Electricity payments, one JSON object a record, with the field names of the S3 document.",
)
READS: Final = TopicSpec(
    "reads",
    "netstrings of organisation and device external id",
    4,
    7 * DAY_MS,
    False,
    "Generation reads of devices, one read a record.",
)
QUARANTINE: Final = TopicSpec(
    "quarantine",
    "topic and position of the refused record",
    1,
    30 * DAY_MS,
    False,
    "What was refused, why and where from, for alerts; the sealed original is in ClickHouse.",
)
ALERTS: Final = TopicSpec(
    "alerts",
    "organisation and dataset it is about",
    1,
    30 * DAY_MS,
    False,
    "Datasets whose rows fail, told by the workers to producers and admins.",
)
REGISTRY: Final[dict[str, TopicSpec]] = {
    kind: TopicSpec(
        f"registry.{kind}", "id of the object", 1, -1, True, f"Newest version of each of the {kind}."
    )
    for kind in REGISTRY_KINDS
}
TOPICS: Final[tuple[TopicSpec, ...]] = (PAYMENTS, READS, QUARANTINE, ALERTS, *REGISTRY.values())


def kinds_by_topic(prefix: str) -> dict[str, RegistryKind]:
    """Kind of registry object by the full name of its topic, in the order of `REGISTRY_KINDS`."""
    return {REGISTRY[kind].full_name(prefix): kind for kind in REGISTRY_KINDS}
