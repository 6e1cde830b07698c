"""The transport's offsets and the index against a model, over a real store, whatever happens in between.

Hypothesis chooses the order: records arrive, batches are delivered and settled in any grouping, processes
die before or after any write, partitions change hands with or without a commit, or are added, zombies try to
write, retention overtakes a stopped group, the topic is made anew, a release judges by other rules.
"""

import os
import secrets
from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from producers.publisher import Record
from schemas.identity import split_position
from sinks import client as clickhouse_client
from sinks.migrate import migrate
from streams.store import Abandoned
from streams.transport.batch import Batch
from streams.transport.offsets import PartitionOffsets
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.streams.made import Hands, record
from tests.streams.world import ORG, Died, World, home_partition, register
from tests.support.workers import payment

PARTITIONS = 2
MOST_PARTITIONS = 4
NEW = 6
"""Payments that are new when a process dies."""
WRITES = 6
EXAMPLES = int(os.environ.get("SUNLEDGER_TEST_EXAMPLES", "8"))
STEPS = 20
Place = tuple[int, int, int]
"""Epoch, partition and offset at which a row was received."""


class Lease:
    """Stands until the member's partitions are given up."""

    giving_up = False

    def __init__(self) -> None:
        self.revoked = False

    def renew(self) -> None:
        """Raise once they are."""
        if self.revoked:
            raise Abandoned


@dataclass
class Member:
    """A worker of one generation: its steps, the books of its partitions, batches in hand."""

    world: World
    lease: Lease
    hands: Hands
    books: dict[int, PartitionOffsets]
    in_hand: list[Batch] = field(default_factory=list)
    forwarded: int = 0


class Pipeline(RuleBasedStateMachine):
    """Two members share a topic of two partitions, of three and of four later."""

    endpoints: Endpoints

    def __init__(self) -> None:
        super().__init__()
        name = f"m_{secrets.token_hex(6)}"
        self._admin = clickhouse_client.connect(self.endpoints.clickhouse)
        migrate(self._admin, name)
        client = clickhouse_client.connect(self.endpoints.clickhouse, database=name)
        self._store = ClickHouse(self.endpoints.clickhouse, name, client)
        self._epoch = 0
        self._count = PARTITIONS
        self._strict = False
        self._new = 0
        self._logs: dict[int, list[Any]] = {}
        self._starts: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._members: list[Member] = []
        self._zombies: list[Member] = []
        self._received: dict[Place, tuple[str, str] | None] = {}
        """Every received row: its id and amount, None for one that a release may judge either way."""
        self._seen: dict[Place, str] = {}
        self._loose = 0

    def teardown(self) -> None:
        """Everything that is left is settled; then the model and the tables must agree."""
        self._settle_everything()
        self._check_against_model()
        self._store.client.close()
        self._admin.command(f"DROP DATABASE {self._store.database}")
        self._admin.close()

    # -- the broker

    @initialize()
    def begin(self) -> None:
        """A fresh topic with every kind of row in it that nobody has committed in, one member for all."""
        self._fresh_topic()
        for number, variant, at_home in product(range(4), (0, 1, 0), (True, False)):
            self._arrive(number, variant, at_home)
        self._assign_all()

    def _fresh_topic(self) -> None:
        self._count = PARTITIONS
        self._logs = {number: [] for number in range(PARTITIONS)}
        self._starts = dict.fromkeys(range(PARTITIONS), 0)
        self._committed = {}

    def _grow(self) -> None:
        """A partition is added: homes move, what lies in the old partitions stays there."""
        if self._count < MOST_PARTITIONS:
            self._logs[self._count] = []
            self._starts[self._count] = 0
            self._count += 1

    def _append(self, partition: int, value: bytes, headers: Any) -> int:
        offset = len(self._logs[partition])
        self._logs[partition].append(record(offset, value, headers))
        return offset

    @rule(
        rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.booleans()), min_size=1, max_size=6)
    )
    def arrive(self, rows: list[tuple[int, int, bool]]) -> None:
        """New, repeated and changed payments, in the partition of their home or in another one."""
        for row in rows:
            self._arrive(*row)

    def _arrive(self, number: int, variant: int, at_home: bool) -> None:
        row = payment(number, PAYMENT_AMOUNT=str(100 + variant))
        home = home_partition(row["ID"], self._count)
        partition = home if at_home else (home + 1) % self._count
        self._receive(partition, row, (row["ID"], row["PAYMENT_AMOUNT"]))

    @rule()
    def arrive_in_doubt(self) -> None:
        """A row that one release accepts and another refuses: whichever judges it first."""
        self._loose += 1
        row = payment(1000 + self._loose, CUSTOMER_PHONE=None)
        self._receive(home_partition(row["ID"], self._count), row, None)

    def _receive(self, partition: int, row: dict[str, Any], what: tuple[str, str] | None) -> None:
        headers = [("organization_id", ORG.encode()), ("dataset_id", b"ds")]
        offset = self._append(partition, orjson.dumps(row), headers)
        self._received[self._epoch, partition, offset] = what

    # -- the group

    def _assign(self, shares: list[int]) -> None:
        """A new generation: `shares[p]` is the member that owns partition p."""
        for member in self._members:
            member.hands.generation += 1
            member.lease.revoked = True
        self._zombies = [member for member in self._members if member.in_hand]
        self._members = []
        for number in sorted(set(shares)):
            owned = [partition for partition, owner in enumerate(shares) if owner == number]
            lease = Lease()
            world = World(self._store, partitions=self._count, epoch=self._epoch, lease=lease)
            profile = "api" if self._strict else "sheet"
            register(world.registry, "datasets", {"id": "ds", "profile": profile, "id_namespace": ""})
            world.restore(self._committed, owned)
            starts = {p: max(self._committed.get(p, 0), 0) for p in owned}
            books = {p: PartitionOffsets(start) for p, start in starts.items()}
            self._members.append(Member(world, lease, Hands(), books))

    def _assign_all(self) -> None:
        self._assign([0] * self._count)

    @rule(
        shares=st.lists(st.integers(0, 1), min_size=MOST_PARTITIONS, max_size=MOST_PARTITIONS),
        cleanly=st.booleans(),
    )
    def rebalance(self, shares: list[int], cleanly: bool) -> None:
        """Partitions change hands; what is in hand is finished and committed first, or given up."""
        if cleanly:
            for member in self._members:
                self._settle(member)
            self.commit()
        self._assign(shares[: self._count])

    @rule()
    def partition_added(self) -> None:
        """The workers end and start again without a commit."""
        self._grow()
        for member in self._members:
            member.in_hand = []
        self._assign_all()

    @rule()
    def commit(self) -> None:
        """Every member commits what is finished, and only that."""
        for member in self._members:
            for partition, books in member.books.items():
                if (offset := books.committable()) is not None:
                    self._committed[partition] = books.committed = offset

    @rule(choice=st.randoms(use_true_random=False), size=st.integers(1, 4))
    def deliver(self, choice: Any, size: int) -> None:
        """One fetch of one partition is taken in hand."""
        member = choice.choice(self._members)
        self._fetch(member, choice.choice(sorted(member.books)), size)

    def _fetch(self, member: Member, partition: int, size: int) -> None:
        books = member.books[partition]
        first = max(books.expected, self._starts[partition])
        records = self._logs[partition][first : first + size]
        if not records:
            return
        lost = first - books.expected
        batch = Batch(
            member.hands,
            member.world.topic,
            partition,
            records,
            member.hands.generation,
            books.expected,
            lost,
        )
        books.delivered(batch.first_offset, batch.next_offset)
        member.in_hand.append(batch)

    @rule(choice=st.randoms(use_true_random=False), size=st.integers(1, 4))
    def work(self, choice: Any, size: int) -> None:
        """A member takes one fetch of every partition of its own, and settles them."""
        member = choice.choice(self._members)
        for partition in sorted(member.books):
            self._fetch(member, partition, size)
        self._settle(member)

    @rule(choice=st.randoms(use_true_random=False))
    def settle(self, choice: Any) -> None:
        """A member settles everything in hand as one turn."""
        self._settle(choice.choice(self._members))

    def _settle(self, member: Member) -> None:
        if not member.in_hand:
            return
        turn, member.in_hand = member.in_hand, []
        try:
            member.world.turn(*turn)
        finally:
            self._publish(member)
        for batch in turn:
            member.books[batch.partition].finished(batch.first_offset, batch.next_offset)

    def _publish(self, member: Member) -> None:
        """What the member has sent on arrives in its topic."""
        sent: list[Record] = member.world.published.sent
        for one in sent[member.forwarded :]:
            if one.topic == member.world.topic:
                assert one.partition is not None
                self._append(one.partition, one.value, list(one.headers))
        member.forwarded = len(sent)

    # -- what goes wrong

    @rule(
        choice=st.randoms(use_true_random=False),
        write=st.sampled_from((1, 2, *range(1, WRITES + 1))),
        moment=st.sampled_from(["before", "after"]),
        grows=st.booleans(),
    )
    def die(self, choice: Any, write: int, moment: str, grows: bool) -> None:
        """A process dies before or after a write of its turn; the group starts again from the commits.

        It dies of payments that are new. When a partition is added meanwhile, the next rows of these payments
        overtake those that it died of.
        """
        self._new += NEW
        numbers = range(self._new, self._new + NEW)
        for number in numbers:
            self._arrive(number, 0, at_home=True)
        member = choice.choice(self._members)
        for partition in sorted(member.books):
            self._fetch(member, partition, 100)
        setattr(member.world.store, moment, member.world.store.inserts + write)
        try:
            self._settle(member)
        except Died:
            member.in_hand = []  # no zombie: it is gone
        if grows:
            self._grow()
            for number in numbers:
                self._arrive(number, number % 2, at_home=True)
        shares = choice.choice((1, 2))
        self._assign([at % shares for at in range(self._count)])
        if grows:
            owner = next(member for member in self._members if self._count - 1 in member.books)
            self._fetch(owner, self._count - 1, 100)
            self._settle(owner)

    @precondition(lambda self: bool(self._zombies))
    @rule()
    def zombie_writes(self) -> None:
        """A member that did not hear of the rebalance goes on: nothing of its turn may be written."""
        for zombie in self._zombies:
            before = zombie.world.store.inserts
            try:
                zombie.world.turn(*zombie.in_hand)
            except Abandoned:
                pass
            else:
                raise AssertionError("a zombie wrote")
            assert zombie.world.store.inserts - before <= 1
        self._zombies = []

    @rule(choice=st.randoms(use_true_random=False), rows=st.integers(1, 5))
    def retention_overtakes(self, choice: Any, rows: int) -> None:
        """The group stands still, the broker deletes what was never read, the group starts again."""
        partition = choice.randrange(self._count)
        self.commit()
        end = min(self._starts[partition] + rows, len(self._logs[partition]) - 1)
        if end <= max(self._starts[partition], self._committed.get(partition, 0)):
            return
        self._starts[partition] = end
        left = self._judged().keys() | self._in_logs()
        self._received = {place: what for place, what in self._received.items() if place in left}
        for member in self._members:
            member.in_hand = []
        self._assign([at % 2 for at in range(self._count)])

    def _in_logs(self) -> set[Place]:
        """Places of all rows that the broker still has, of forwarded ones where they were received."""
        found = set()
        for partition, log in self._logs.items():
            for offset in range(self._starts[partition], len(log)):
                origin = dict(log[offset].headers).get("origin")
                here = (self._epoch, partition, offset)
                found.add(split_position(int(origin.split(b":")[0])) if origin else here)
        return found

    @rule()
    def topic_made_anew(self) -> None:
        """Everything in it is gone, offsets begin again, and no row of the new one is a replay."""
        judged = self._judged()
        self._received = {place: what for place, what in self._received.items() if place in judged}
        self._epoch += 1
        self._fresh_topic()
        for member in self._members:
            member.in_hand = []
        self._assign_all()

    @rule()
    def release(self) -> None:
        """Other rules from now on; the group starts again without a commit, so rows are judged anew."""
        self._strict = not self._strict
        for member in self._members:
            member.in_hand = []
        self._assign_all()

    # -- the books

    def _judged(self) -> dict[Place, str]:
        rows = self._store.rows("SELECT position, outcome FROM ledger")
        return {split_position(int(str(at))): str(outcome) for at, outcome in rows}

    @invariant()
    def verdicts_stay(self) -> None:
        """A row has one outcome, it was received, and it never changes."""
        if not self._logs:
            return
        judged = self._judged()
        rows = self._store.value("SELECT count() FROM ledger")
        assert rows == len(judged)
        assert judged.keys() <= self._received.keys(), judged.keys() - self._received.keys()
        assert all(judged[place] == outcome for place, outcome in self._seen.items())
        self._seen = judged
        for partition, offset in self._committed.items():
            left = {
                (epoch, p, o)
                for epoch, p, o in self._received.keys() - judged.keys()
                if epoch == self._epoch and p == partition and o < offset
            }
            forwarded = {
                split_position(int(dict(one.headers)["origin"].split(b":")[0]))
                for log in self._logs.values()
                for one in log
                if "origin" in dict(one.headers)
            }
            assert left <= forwarded, f"committed and neither judged nor sent on: {left - forwarded}"

    def _settle_everything(self) -> None:
        if not self._logs:
            return
        self._assign_all()
        (member,) = self._members
        while any(books.expected < len(self._logs[p]) for p, books in member.books.items()):
            for partition in range(self._count):
                self._fetch(member, partition, 10)
            self._settle(member)
        self.commit()
        self.verdicts_stay()

    def _check_against_model(self) -> None:
        """Of each identity the first content is accepted, a known one a duplicate, another a conflict.

        A version whose process died, and whose row retention took before anybody saw it again, has no
        outcome: it counts, and what comes later is judged by it.
        """
        judged = self._judged()
        stored = self._store.rows(
            "SELECT position, id, outcome, toString(toInt32(payment_amount)) FROM payment_versions FINAL"
            " WHERE toUInt32(substring(id, 2)) < 1000"
        )
        alone = [row[1:] for row in stored if split_position(int(str(row[0]))) not in judged]
        assert judged.keys() == self._received.keys(), "a received row has no outcome"
        outcomes: dict[str, Counter[str]] = {}
        contents: dict[str, set[str]] = {}
        for place, what in self._received.items():
            if what is None:
                assert judged[place] in ("accepted", "quarantined")
                continue
            record_id, amount = what
            outcomes.setdefault(record_id, Counter())[judged[place]] += 1
            contents.setdefault(record_id, set()).add(amount)
        for record_id, found in outcomes.items():
            without = [(outcome, amount) for its_id, outcome, amount in alone if its_id == record_id]
            versions = len(contents[record_id] | {str(amount) for _, amount in without})
            expected = Counter(accepted=1, conflict=versions - 1)
            expected.subtract(str(outcome) for outcome, _ in without)
            expected["duplicate"] = found.total() - expected.total()
            assert +found == +expected, (record_id, found)
        counted = self._store.value("SELECT count() FROM payments WHERE toUInt32(substring(id, 2)) < 1000")
        known = outcomes.keys() | {str(its_id) for its_id, *_ in alone}
        assert counted == len(known), "a payment counts twice, or not at all"


def test_the_pipeline_agrees_with_its_model(endpoints: Endpoints) -> None:
    """`SUNLEDGER_TEST_EXAMPLES` runs more of it; a failing one prints its steps."""
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("Machine", (Pipeline,), {"endpoints": endpoints})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="SUNLEDGER_TEST_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
