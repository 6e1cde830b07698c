"""A file does not run far ahead of its verdicts, and stops when its dataset is paused."""

import threading
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from s3_world import World, sample

from producers import pace as pacing
from producers.contracts import FileState, RunState
from producers.errors import DatasetPaused
from producers.pace import FIRST_ROWS, MOST_ROWS, Pace, Unjudged
from tests.support.workers import wait_until


class Judge:
    """Says how many rows are unjudged, one answer after the other, then the last one for ever."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


def quick(seconds: float) -> None:
    """A pause that takes no time to speak of."""
    time.sleep(0.001)


def answer(unjudged: Unjudged) -> tuple[int] | None:
    """What it says, None while the broker does not know the group yet."""
    try:
        return (unjudged(),)
    except KafkaException:
        return None


def test_the_first_rows_are_waited_for_then_twice_as_many() -> None:
    """5,000, 10,000, … up to the most; a file that is shorter never asks."""
    judge = Judge(0)
    pace = Pace(judge, lambda: True, quick)
    pace.sent(FIRST_ROWS - 1)
    assert judge.asked == 0
    pace.sent(1)
    assert judge.asked == 1
    waits = []
    for _ in range(2 * 10**6 // 500):
        before = judge.asked
        pace.sent(500)
        waits.append(judge.asked > before)
    steps = [2 * FIRST_ROWS]
    while sum(steps) < 2 * 10**6:
        steps.append(min(2 * steps[-1], MOST_ROWS))
    assert sum(waits) == len(steps) - 1


def test_it_waits_until_few_enough_are_unjudged() -> None:
    """Whatever else is in the topic: it is judged before this file's rows."""
    judge = Judge(90_000, 40_000, FIRST_ROWS, FIRST_ROWS - 1)
    Pace(judge, lambda: True, quick).sent(FIRST_ROWS)
    assert judge.asked == 4


def test_nobody_who_judges_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without progress the file goes on: its rows wait as well in the topic."""
    monkeypatch.setattr(pacing, "PATIENCE_S", 0.05)
    judge = Judge(90_000)
    pace = Pace(judge, lambda: True, quick)
    pace.sent(FIRST_ROWS)
    asked = judge.asked
    pace.sent(MOST_ROWS - 1)
    assert judge.asked == asked


def test_other_files_do_not_hold_it_back_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """While rows are judged but others keep the topic full, it goes on, and its next step waits again."""
    monkeypatch.setattr(pacing, "CROWDED_S", 0.05)
    judge = Judge(*range(10**6, 9 * 10**5, -1))
    pace = Pace(judge, lambda: True, quick)
    for rows in (FIRST_ROWS, 2 * FIRST_ROWS):
        asked = judge.asked
        pace.sent(rows)
        assert judge.asked > asked + 1


def test_a_paused_dataset_ends_the_file() -> None:
    """Also while nobody judges."""
    active = [True, True, False]
    with pytest.raises(DatasetPaused):
        Pace(Judge(90_000), lambda: active.pop(0), quick).sent(FIRST_ROWS)


def test_unjudged_rows_are_those_not_committed(world: World) -> None:
    """Per partition: from the commit, or from the log's start without one, to the end."""
    group = f"judges-{time.monotonic_ns()}"
    unjudged = Unjudged(world.kafka, group, world.topic)
    before = wait_until(lambda: answer(unjudged), 60, "the group's coordinator")[0]
    world.put(sample(50))
    world.run()
    assert unjudged() == before + 50
    consumer = Consumer({"bootstrap.servers": world.kafka, "group.id": group})
    ends = [TopicPartition(world.topic, number, end) for number, end in world._ends().items()]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()
    assert unjudged() == 0


def test_rows_in_partitions_that_were_added_are_unjudged_too(world: World) -> None:
    """Counted by the next question, whatever the client knew of the topic before."""
    unjudged = Unjudged(world.kafka, f"judges-{time.monotonic_ns()}", world.topic)
    before = wait_until(lambda: answer(unjudged), 60, "the group's coordinator")[0]
    admin = AdminClient({"bootstrap.servers": world.kafka, "log_level": 0})
    number = len(admin.list_topics(world.topic, timeout=20).topics[world.topic].partitions)
    admin.create_partitions([NewPartitions(world.topic, number + 1)])[world.topic].result(20)
    wait_until(lambda: answer(unjudged) == (before,), 60, "the new partition")
    producer = Producer({"bootstrap.servers": world.kafka, "log_level": 0})
    producer.produce(world.topic, b"{}", partition=number)
    assert producer.flush(60) == 0
    assert unjudged() == before + 1


def test_a_file_goes_on_when_its_dataset_is_active_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused in the middle: the rest stays in the bucket, what was sent is counted; then all of it comes."""
    monkeypatch.setattr(pacing, "FIRST_ROWS", 1000)
    served = list(world.datasets.datasets)

    def pausing() -> int:
        world.datasets.datasets.clear()
        return 10**6

    world.put(sample(5000))
    state, detail = world.run(unjudged=pausing)
    assert state is RunState.FAILED
    assert "active" in str(detail)
    (file,) = world.store.files
    assert (file.state, file.received) == (FileState.CLAIMED, len(world.seen()))
    assert 1000 <= file.received < 5000
    assert world.keys() == ["ELECTRICITY_PAYMENT.csv"]
    world.datasets.datasets.extend(served)
    assert world.run() == (RunState.DONE, None)
    (file,) = world.store.files
    assert (file.state, file.received) == (FileState.DELETED, 5000)
    assert {record.where[1] for record in world.seen()} == set(range(2, 5002))


def test_a_poller_that_waits_for_verdicts_can_be_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM does not wait for the workers."""
    monkeypatch.setattr(pacing, "FIRST_ROWS", 100)
    world.put(sample(1000))
    asked = threading.Event()

    def slow() -> Any:
        asked.set()
        return 10**6

    poller = world.poller(unjudged=slow)
    thread = threading.Thread(target=poller.run)
    world.store.request("ds_1")
    thread.start()
    assert asked.wait(60)
    poller.stop()
    thread.join(60)
    assert not thread.is_alive()
