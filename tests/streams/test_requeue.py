"""The sweep: replays what can be cured, once, and gives way to a person who acts on the same row."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from producers.publisher import BrokerUnavailable, Record
from schemas.identity import position
from schemas.origins import OriginSigner
from schemas.personal import Sealer
from sinks import client as clickhouse_client
from sinks.quarantine_actions import SWEEP, TABLE, Action, action_batch
from sinks.writer import Writer
from streams.requeue import Requeue
from streams.store import Store
from tests.conftest import ClickHouse
from tests.streams.world import SECRET, Topic

ORG = "org_late"


class Meddled(Store):
    """A store in which somebody else acts before or after the sweep tells that it will."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def insert(self, table: str, make: Any, lease: Any) -> None:
        """As `Store.insert`."""
        if self.before:
            self.before()
        super().insert(table, make, lease)
        if self.after:
            self.after()


class Broken(Topic):
    """A publisher whose broker does not acknowledge."""

    def wait(self, limit_s: float) -> None:
        """It does not answer."""
        raise BrokerUnavailable("no acknowledgement in time")


class Sweep:
    """A sweep over a database with refused rows in it."""

    def __init__(self, clickhouse: ClickHouse, topic: Topic) -> None:
        clients = clickhouse_client.factory(clickhouse.url, database=clickhouse.database)
        self._clickhouse = clickhouse
        self.writer = Writer(clients, clickhouse.database)
        self.store = Meddled(clients, Writer(clients, clickhouse.database), "requeue")
        self.topic = topic
        self.requeue = Requeue(
            self.store, topic, Sealer(SECRET), OriginSigner(SECRET), lambda: True  # type: ignore[arg-type]
        )  # fmt: skip

    def refuse(self, offset: int, sealed: str | None = None) -> int:
        """A row of an organisation that is registered by now; its position."""
        at = position(0, 1, offset)
        original = {
            "key": None,
            "value": b64encode(b'{"ID": "P%d"}' % offset).decode(),
            "headers": {"organization_id": b64encode(ORG.encode()).decode()},
        }
        text = Sealer(SECRET).seal(ORG, orjson.dumps(original)) if sealed is None else sealed
        names = [
            "topic",
            "position",
            "organization_id",
            "record_type",
            "missing_kind",
            "missing_id",
            "sealed",
        ]
        row = ["payments", at, ORG, "payment", "organizations", ORG, text]
        self._clickhouse.client.insert("quarantine_rows", [row], names)
        return at

    def register(self) -> None:
        """The organisation becomes known."""
        self._clickhouse.client.insert("organization_versions", [[ORG, 1]], ["id", "version"])

    def person(self, at: int, action: Action) -> None:
        """A person acts on a row."""
        self.writer.insert(TABLE, action_batch([(ORG, ("payments", at))], action, "usr_1"))

    def actions(self) -> list[tuple[object, ...]]:
        """Every action: what, and by whom."""
        return self._clickhouse.rows(f"SELECT action, done_by FROM {TABLE} ORDER BY stored_at")

    def sent(self) -> list[bytes]:
        """Values of what was published."""
        return [record.value for record in self.topic.sent]


@pytest.fixture
def sweep(clickhouse: ClickHouse) -> Sweep:
    """A sweep whose broker acknowledges."""
    return Sweep(clickhouse, Topic())


def test_a_curable_row_is_told_before_it_is_sent(sweep: Sweep) -> None:
    """The intention is stored first; the record is the original with a signed `replay_of`; sent once."""
    at = sweep.refuse(1)
    assert sweep.requeue.sweep() == 0
    assert sweep.actions() == []
    sweep.register()
    assert sweep.requeue.sweep() == 1
    assert sweep.requeue.sweep() == 0
    assert sweep.actions() == [("requeued", SWEEP)]
    (record,) = sweep.topic.sent
    assert (record.value, record.partition) == (b'{"ID": "P1"}', 1)
    assert OriginSigner(SECRET).open("replay_of", ORG, dict(record.headers)["replay_of"]) == at


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("action", [Action.CLAIMED, Action.DISCARDED])
def test_a_person_at_the_same_time_keeps_his_row(sweep: Sweep, when: str, action: Action) -> None:
    """However the two interleave, the sweep sees him before it sends; other rows go."""
    mine = sweep.refuse(1)
    sweep.refuse(2)
    sweep.register()
    setattr(sweep.store, when, lambda: sweep.person(mine, action))
    assert sweep.requeue.sweep() == 1
    assert sweep.sent() == [b'{"ID": "P2"}']
    setattr(sweep.store, when, None)
    assert sweep.requeue.sweep() == 0
    sweep.person(mine, Action.WITHDRAWN)
    assert sweep.requeue.sweep() == 1
    assert sweep.sent() == [b'{"ID": "P2"}', b'{"ID": "P1"}']


def test_what_was_not_acknowledged_is_sent_again(clickhouse: ClickHouse) -> None:
    """The broker may have it all the same: the second copy is a duplicate."""
    sweep = Sweep(clickhouse, Broken())
    sweep.refuse(1)
    sweep.register()
    assert sweep.requeue.sweep() == 0
    assert sweep.requeue.sweep() == 0
    assert len(sweep.topic.sent) == 2


def test_a_sweep_that_was_held_up_sends_nothing(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process that comes back finds its word too old to act on."""
    sweep.refuse(1)
    sweep.register()
    monkeypatch.setattr("streams.requeue.ACT_WITHIN_S", -1.0)
    assert sweep.requeue.sweep() == 0
    assert sweep.sent() == []
    monkeypatch.undo()
    assert sweep.requeue.sweep() == 1


def test_a_broken_seal_is_not_told_as_an_intention(sweep: Sweep) -> None:
    """Nobody has to wait for a replay that cannot be."""
    sweep.refuse(1, sealed="v1.broken")
    sweep.register()
    assert sweep.requeue.sweep() == 0
    assert sweep.actions() == []
    assert [isinstance(record, Record) for record in sweep.topic.sent] == []
