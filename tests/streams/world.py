"""The pipeline's steps without processes: a real store, batches by hand, a death at any write."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from producers.publisher import Record
from schemas.identity import home_of, partition_of, payment_key
from schemas.origins import OriginSigner
from schemas.personal import Pseudonymizer, Sealer
from schemas.registry import parse
from schemas.topics import RegistryKind
from sinks import client as clickhouse_client
from sinks.writer import Writer
from streams.brakes import Brake
from streams.config import BrakeLimits
from streams.history import History
from streams.index import PaymentIndex, ReadIndex
from streams.outlet import Outlet
from streams.payments_decide import DecidePayments
from streams.payments_prepare import PreparePayments
from streams.payments_work import remember as remember_payments
from streams.quarantine import Quarantine
from streams.reads_decide import DecideReads
from streams.reads_decide import remember as remember_reads
from streams.reads_prepare import PrepareReads
from streams.registry import Registry
from streams.resolve import Resolver
from streams.restorers import Restorer, load_payments, load_reads
from streams.rows import RowReader
from streams.settle import Settle
from streams.store import Always, Lease, Store
from streams.suspects import Suspects
from streams.transport.thread import Start
from tests.conftest import ClickHouse
from tests.streams.made import batch_of, record

SECRET = b"0123456789abcdef0123456789abcdef"
ORG = "org_a"
SIGNER = OriginSigner(SECRET)
BASE = {"number": 1, "version": 1, "archived": False, "changed_at": "2026-01-01T00:00:00.000Z"}
FILLED: Mapping[str, Mapping[str, Any]] = {
    "devices": {
        "organization_id": ORG, "project_id": "prj_1", "manufacturer": "HOP", "serial_number": "S"
    },
    "connections": {"organization_id": ORG, "project_id": "prj_1"},
    "datasets": {
        "organization_id": ORG, "name": "D", "provider": "P", "source": "s3",
        "type": "electricity_payments", "target": "project",
    },
}  # fmt: skip


class Died(BaseException):
    """The process dies here."""


class MortalStore(Store):
    """A store whose process dies before or after its n-th insert, counted from 1."""

    before = after = 0
    inserts = 0

    def insert(self, table: str, make: Any, lease: Any) -> None:
        """As `Store.insert`, or the end."""
        self.inserts += 1
        if self.inserts == self.before:
            raise Died
        super().insert(table, make, lease)
        if self.inserts == self.after:
            raise Died


class Topic:
    """Where an outlet's records end up: the publisher's group of records, acknowledged at once."""

    def __init__(self) -> None:
        self.sent: list[Record] = []

    def group(self) -> "Topic":
        """Records sent together."""
        return self

    def add_waiting(self, given: Record, limit_s: float) -> None:
        """Send one."""
        self.sent.append(given)

    def wait(self, limit_s: float) -> None:
        """All are acknowledged."""

    def partitions(self, topic: str) -> int:
        """As many as the topic has when it is created."""
        return 4


def register(registry: Registry, kind: RegistryKind, value: Mapping[str, Any]) -> bool:
    """Apply a message as it comes from the topic; what the test does not say has some good value."""
    filled = {**BASE, **FILLED.get(kind, {}), **value}
    return registry.apply(kind, parse(kind, orjson.dumps(filled)))


class World:
    """One worker's steps for one topic; make another over the same database for its successor.

    Args:
        epoch: epoch of the topic; a topic made anew has another one.
        lease: of its turns; for ever without one.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        kind: str = "payments",
        partitions: int = 1,
        epoch: int = 0,
        lease: Lease | None = None,
    ) -> None:
        clients = clickhouse_client.factory(clickhouse.url, database=clickhouse.database)
        self.topic = kind
        self.partitions = partitions
        self.store = MortalStore(clients, Writer(clients, clickhouse.database), kind)
        self.registry = Registry()
        register(self.registry, "organizations", {"id": ORG, "name": "Solar"})
        self.history = History(self.store, kind, epoch)
        self.published = Topic()
        resolver = Resolver(self.registry, lambda: None)
        reader, sealer = RowReader(epoch, SIGNER), Sealer(SECRET)
        if kind == "payments":
            index = PaymentIndex()
            self.prepare: Any = PreparePayments(reader, resolver, Pseudonymizer(SECRET))
            self.decide: Any = DecidePayments(
                self.store, index, self.history, self.registry, Quarantine(sealer, kind, "payment"), kind
            )
            load, memory = load_payments(index), lambda keys: remember_payments(index, keys)
        else:
            ends = ReadIndex()
            self.prepare = PrepareReads(reader, resolver)
            self.decide = DecideReads(self.store, ends, self.history, Quarantine(sealer, kind, "read"), kind)
            load, memory = load_reads(ends), lambda new: remember_reads(ends, new)
        suspects = Suspects(self.store, kind, epoch, "w")
        self._settle: Settle[Any] = Settle(
            kind, kind[:-1], epoch, "w", self.decide, memory, self.store,
            Outlet(self.published, "", SIGNER), Brake(kind, BrakeLimits(), self.registry), lambda: partitions,
            lambda turn: lease or Always(),  # type: ignore[arg-type]
            suspects,
        )  # fmt: skip
        self._restorer = Restorer(self.store, self.history, load, kind, epoch, lambda: partitions, suspects)

    def restore(
        self, committed: Mapping[int, int] | None = None, owned: Sequence[int] | None = None
    ) -> "World":
        """Restore partitions, all unless some are named, from committed offsets where there are any."""
        offsets = committed or {}
        numbers = range(self.partitions) if owned is None else owned
        self._restorer(
            {p: Start(offsets.get(p, 0), offsets.get(p), 0, 10**6, False) for p in numbers}, lambda: True
        )
        return self

    def turn(self, *batches: Any) -> None:
        """Settle batches as one turn."""
        self._settle([self.prepare(batch) for batch in batches])

    def batch(self, rows: Sequence[Any], first: int = 0, partition: int = 0, **headers: str) -> Any:
        """A batch of rows of the organisation, offsets rising from `first`."""
        given = [("organization_id", ORG.encode()), *((n, v.encode()) for n, v in headers.items())]
        records = [
            record(first + number, row if isinstance(row, bytes) else orjson.dumps(row), given)
            for number, row in enumerate(rows)
        ]
        return batch_of(records, self.topic, partition)

    def received(self, given: Record, offset: int) -> Any:
        """A batch of one published record, as its partition's owner fetches it."""
        return batch_of([record(offset, given.value, list(given.headers))], self.topic, given.partition or 0)


def home_partition(record_id: str, partitions: int) -> int:
    """Partition of a payment of the organisation."""
    key = payment_key(ORG, "", record_id)
    assert home_of(key) % partitions == partition_of(key, partitions)
    return partition_of(key, partitions)


def outcomes(clickhouse: ClickHouse) -> dict[object, object]:
    """Rows of the ledger by outcome."""
    return dict(clickhouse.rows("SELECT outcome, count() FROM ledger GROUP BY outcome"))


def by_offset(clickhouse: ClickHouse) -> list[object]:
    """Outcome of each row, in the order of positions."""
    return [row[0] for row in clickhouse.rows("SELECT outcome FROM ledger ORDER BY partition, offset")]
