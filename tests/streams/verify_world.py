"""Books made by hand for the verifier: real topics and commits, tables filled as a worker fills them."""

from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from producers.publisher import Publisher, Record
from schemas.identity import position
from sinks import client as clickhouse_client
from sinks import tables
from sinks.writer import Writer
from streams.verify.findings import Finding, Kind, Partition
from streams.verify.verifier import Verifier, VerifierConfig
from tests.conftest import ClickHouse
from tests.streams.made import NOW_MS

GROUP = "sunledger"
ENOUGH = 4
"""Passes in which a full pass begins and ends, and what it finds is looked at again."""


class VerifyWorld:
    """Topics and tables of one installation, and a verifier over them that makes a full pass all the time."""

    def __init__(self, kafka: str, prefix: str, clickhouse: ClickHouse, **config: Any) -> None:
        self.prefix = prefix
        self.clickhouse = clickhouse
        self.topic = f"{prefix}payments"
        self.reads = f"{prefix}reads"
        self._clients = clickhouse_client.factory(clickhouse.url, database=clickhouse.database)
        self.writer = Writer(self._clients, clickhouse.database)
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
        self._kafka = kafka
        self._publisher = Publisher(kafka)
        self._group = f"{prefix}{GROUP}"
        self._config = {"kafka": kafka, "topic_prefix": prefix, "group": self._group, "full_interval_s": 0.0}
        self._verifiers: list[Verifier] = []
        self.verifier = self.make(**config)
        for topic in (self.topic, self.reads):
            self._put("topic_epochs", topic=topic, topic_id=self._topic_id(topic), epoch=0)

    def make(self, **config: Any) -> Verifier:
        """A verifier of its own."""
        made = Verifier(VerifierConfig(**{**self._config, **config}), self._clients)
        self._verifiers.append(made)
        return made

    def close(self) -> None:
        """End the connections."""
        for verifier in self._verifiers:
            verifier.close()
        self._publisher.close()
        self.writer.close()

    # -- Kafka

    def send(self, count: int, partition: int = 0, topic: str | None = None) -> None:
        """Publish records."""
        group = self._publisher.group()
        for _ in range(count):
            group.add_waiting(Record(topic or self.topic, b"", b"{}", [], partition), 30.0)
        group.wait(30.0)

    def commit(self, offset: int, partition: int = 0, note: str = "") -> None:
        """Commit an offset of the group for the payments topic, with a worker's note of the log's id."""
        asked = ConsumerGroupTopicPartitions(
            self._group, [TopicPartition(self.topic, partition, offset, note)]
        )
        self._admin.alter_consumer_group_offsets([asked])[self._group].result(20)

    def add_partition(self) -> int:
        """Add a partition to the payments topic; returns its number."""
        described = self._admin.describe_topics(TopicCollection([self.topic]))[self.topic].result(20)
        count = len(described.partitions)
        self._admin.create_partitions([NewPartitions(self.topic, count + 1)])[self.topic].result(20)
        self._publisher.close()
        self._publisher = Publisher(self._kafka)  # the old one would not know of it for minutes
        return count

    def delete_records(self, before: int, partition: int = 0) -> None:
        """Let the broker forget what lies before an offset, as retention does."""
        at = TopicPartition(self.topic, partition, before)
        self._admin.delete_records([at])[TopicPartition(self.topic, partition)].result(20)

    def _topic_id(self, topic: str) -> str:
        described = self._admin.describe_topics(TopicCollection([topic]))[topic].result(20)
        return str(described.topic_id)

    # -- tables

    def batch(self, first: int, outcomes: Iterable[str | None], partition: int = 0, **changes: Any) -> None:
        """What a worker stores of a batch: facts, ledger rows, the range; outcome None: nothing of it."""
        given = list(outcomes)
        for at, outcome in enumerate(given, first):
            if outcome is not None:
                self.row(at, outcome, partition)
        self.range(first, first + len(given), partition, **changes)

    def row(self, offset: int, outcome: str, partition: int = 0) -> None:
        """A received row with its facts; a duplicate is one of the first row of partition 0."""
        if outcome in ("accepted", "conflict"):
            self.version(offset, outcome, partition)
            self.key(offset, outcome, partition)
        if outcome == "quarantined":
            self.quarantined(offset, partition)
        self.ledger(offset, outcome, partition)

    def range(self, first: int, end: int, partition: int = 0, **changes: Any) -> None:
        """A finished batch."""
        row = {
            "topic": self.topic, "epoch": 0, "partition": partition, "first_offset": first,
            "next_offset": end, "forwarded": 0, "lost": 0, "generation": 1, "worker": "w", "copies": [],
            "markers": [], **changes,
        }  # fmt: skip
        taken = row["forwarded"] + row["lost"] + len(row["markers"])
        row.setdefault("rows", end - first - taken)
        self.insert("ledger_ranges", row)

    def ledger(self, offset: int, outcome: str, partition: int = 0, **changes: Any) -> None:
        """A ledger row."""
        known = {"identity": 0, "content_hash": 7} if outcome == "duplicate" else {}
        self.insert(
            "ledger_rows",
            {
                **self._lineage(offset, partition), **known, "record_type": "payment",
                "record_id": f"P{offset}", "outcome": outcome, "reasons": [],
                "matched_connection_id": "", **changes,
            },
        )  # fmt: skip

    def version(self, offset: int, outcome: str, partition: int = 0, **changes: Any) -> None:
        """A version of a payment."""
        texts = {
            field.name: "" for field in tables.SCHEMAS["payment_versions"] if str(field.type) == "string"
        }
        row = {
            **texts, **self._lineage(offset, partition), "outcome": outcome, "home": 0, "id": f"P{offset}",
            "timestamp": NOW_MS, "payment_amount": 10, "custom": [], "supplied": [], **changes,
        }  # fmt: skip
        self.insert("payment_versions", row)

    def decide(self, identity: int, *known: int) -> None:
        """A decision about a payment, that keeps the first of the contents that are known."""
        self.insert(
            "decisions",
            {
                "decision_id": "dec_1", "organization_id": "org_a", "record_type": "payment",
                "identity": identity, "decision": "keep_first", "selected": known[:1], "known": known,
                "decided_by": "usr_1", "rule": "", "decided_at": NOW_MS,
            },
        )  # fmt: skip

    def key(self, offset: int, outcome: str, partition: int = 0) -> None:
        """A key of a payment."""
        names = ("identity", "content_hash", "position")
        row = {name: self._lineage(offset, partition)[name] for name in names}
        self.insert("payment_keys", {**row, "outcome": outcome, "home": 0})

    def quarantined(self, offset: int, partition: int = 0) -> None:
        """A quarantine row."""
        row = {
            **self._lineage(offset, partition), "record_type": "payment", "record_id": "", "reasons": [],
            "details": "", "missing_kind": "", "missing_id": "", "sealed": "",
        }  # fmt: skip
        row.pop("content_hash")
        self.insert("quarantine_rows", row)

    def insert(self, table: str, row: dict[str, Any]) -> None:
        """One row of a table, as a worker writes it."""
        self.writer.insert(table, tables.batch_of_rows(table, [row]))

    def delete(self, table: str, condition: str) -> None:
        """Take rows away, and wait until they are."""
        mine = "" if table == "payment_keys" else f"topic = '{self.topic}' AND "
        self.clickhouse.client.command(
            f"ALTER TABLE {table} DELETE WHERE {mine}{condition}",
            settings={"mutations_sync": 1},
        )

    def _put(self, table: str, **row: Any) -> None:
        self.clickhouse.client.insert(table, [list(row.values())], column_names=list(row))

    def _lineage(self, offset: int, partition: int) -> dict[str, Any]:
        return {
            "topic": self.topic, "position": position(0, partition, offset), "organization_id": "org_a",
            "identity": 1000 * partition + offset, "content_hash": offset + 7, "dataset_id": "",
            "source": "topic", "source_ref": "", "line": 0, "partition": partition, "offset": offset,
            "received_at": NOW_MS, "replay_of": None,
        }  # fmt: skip

    # -- the verifier

    def faults(self, passes: int = ENOUGH, verifier: Verifier | None = None) -> dict[Kind, Finding]:
        """What is reported after some passes, by kind; one finding of each."""
        found = verifier or self.verifier
        for _ in range(passes):
            assert found.run_pass(), found.why_not_ready()
        return {finding.kind: finding for finding in found.faults}

    def passes_until(self, wanted: Callable[[dict[Kind, Finding]], bool], what: str) -> None:
        """Let the verifier pass until it reports what is wanted; it has twice the passes it needs."""
        for _ in range(2 * ENOUGH):
            if wanted(found := self.faults(1)):
                return
        raise AssertionError(f"{what}: {found}")

    def where(self, partition: int = 0) -> Partition:
        """A partition of the payments topic."""
        return Partition(self.topic, 0, partition)
