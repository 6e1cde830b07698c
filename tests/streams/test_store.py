"""Writes that are repeated until they succeed or are nobody's any more, and the lease they need."""

import threading
from typing import Any

import pyarrow as pa
import pytest

from sinks.errors import Refused, Retryable
from streams import store as module
from streams.lease import GroupLease
from streams.restorers import Restorer
from streams.store import Abandoned, Always, Store
from streams.suspects import Suspects
from streams.transport.thread import Start
from tests.conftest import ClickHouse
from tests.streams.made import Hands, batch_of, record
from tests.streams.world import World
from tests.support.workers import payment, wait_until

NOTHING = pa.record_batch({"a": pa.array([1])})


class Answers:
    """A writer that answers as it is told; the last answer is repeated."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    def insert(self, table: str, batch: Any) -> None:
        """Take the batch, or raise the next answer."""
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.01)


def store_of(writer: Any) -> Store:
    """A store over a writer; it is never read."""
    return Store(lambda: None, writer, "t")  # type: ignore[arg-type, return-value]


def lease_of(hands: Hands) -> GroupLease:
    """The lease of one batch of these hands; silence of a second ends it."""
    return GroupLease(hands, [batch_of([record(0, b"")], owner=hands)], 1.0)  # type: ignore[arg-type]


def test_an_insert_is_repeated_until_it_is_stored() -> None:
    """What may succeed later is tried again, and the store says meanwhile that it waits."""
    writer = Answers(*[Retryable("away")] * 5, None)
    store = store_of(writer)
    store.insert("t", lambda: NOTHING, Always())
    assert writer.asked == 6
    assert not store.waiting


def test_what_retrying_cannot_cure_is_not_repeated() -> None:
    """A refusal goes up at once."""
    writer = Answers(Refused("no"))
    with pytest.raises(Refused):
        store_of(writer).insert("t", lambda: NOTHING, Always())
    assert writer.asked == 1


def test_a_question_is_repeated_whatever_the_answer_blames() -> None:
    """A read has no rows: what would refuse an insert (33, data cut short by a full disk) is waited out."""
    answers: list[Any] = [Refused("the store answered with code 33", 33), ValueError("cut short"), 5]

    def ask(_client: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Closable:
        def close(self) -> None:
            """Nothing is open."""

    store = Store(Closable, Answers(None), "t")  # type: ignore[arg-type, return-value]
    assert store.read(ask, Always()) == 5
    assert not answers


def test_a_revocation_ends_the_repeating() -> None:
    """An insert that belongs to nobody any more is dropped, not repeated for ever."""
    hands = Hands()
    writer = Answers(Retryable("away"))
    store = store_of(writer)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            store.insert("t", lambda: NOTHING, lease_of(hands))
        except Abandoned as exc:
            ended.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: writer.asked > 2 and store.waiting)
    assert not ended
    hands.generation += 1
    thread.join(10)
    assert len(ended) == 1


def test_nothing_is_written_while_heartbeats_are_silent() -> None:
    """The worker waits until the group knows it again, then goes on; it does not end itself."""
    hands = Hands()
    hands.silence_s = 5.0
    writer = Answers(None)
    thread = threading.Thread(target=store_of(writer).insert, args=("t", lambda: NOTHING, lease_of(hands)))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert writer.asked == 0
    hands.silence_s = 0.0
    thread.join(10)
    assert writer.asked == 1


def test_silence_that_ends_in_a_revocation_writes_nothing() -> None:
    """A zombie that wakes up after its partitions went elsewhere drops what it has in hand."""
    hands = Hands()
    lease = lease_of(hands)
    hands.silence_s, hands.generation = 5.0, 2
    writer = Answers(None)
    with pytest.raises(Abandoned):
        store_of(writer).insert("t", lambda: NOTHING, lease)
    assert writer.asked == 0


def restorer_of(world: World) -> tuple[Restorer, list[str]]:
    """A restorer over a world's store, and what it did."""
    done: list[str] = []

    def load(client: Any, homes: list[int]) -> int:
        done.append("loaded")
        return 0

    suspects = Suspects(world.store, "payments", 0, "w")
    return Restorer(world.store, world.history, load, "payments", 0, lambda: 1, suspects), done


def test_a_restore_waits_while_the_ledger_is_behind_the_commit(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that lags would make stored rows look new; the restore goes on when it has caught up."""
    monkeypatch.setattr("streams.restorers.LEDGER_PAUSE_S", 0.02)
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1), payment(2)]))
    restorer, done = restorer_of(World(clickhouse))
    begins = {0: Start(3, 3, 0, 9, True)}
    thread = threading.Thread(target=restorer, args=(begins, lambda: True))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert done == []
    world.turn(world.batch([payment(3)], 2))
    thread.join(20)
    assert done == ["loaded"]


def test_a_restore_ends_when_the_partitions_go(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a ledger that is another worker's business by now."""
    monkeypatch.setattr("streams.restorers.LEDGER_PAUSE_S", 0.02)
    restorer, done = restorer_of(World(clickhouse))
    owned = [True] * 3
    restorer({0: Start(3, 3, 0, 9, True)}, lambda: bool(owned and owned.pop()))
    assert done == []


@pytest.mark.parametrize("committed", [None, 0])
def test_a_partition_that_never_had_a_row_is_restored_at_once(
    clickhouse: ClickHouse, committed: int | None
) -> None:
    """Whether it was handed over untouched or never owned: there is nothing to wait for."""
    restorer, done = restorer_of(World(clickhouse))
    restorer({0: Start(0, committed, 0, 0, False)}, lambda: True)
    assert done == ["loaded"]
