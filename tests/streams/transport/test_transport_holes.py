"""A batch that does not start where the last one ended: looked at again, explained, or the end."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streams.transport import Batch, OffsetsWentBack, UnexplainedHole
from tests.streams.transport.rig import Rig, Topic, running, until


async def test_rows_deleted_by_retention_while_stopped_are_recorded_as_lost(topic: Topic) -> None:
    """The loss is told to the listener and is part of the batch behind it; then it goes on."""
    topic.send(range(100))
    topic.commit(20)
    topic.delete_before(50)
    async with running(Rig(topic)) as rig:
        await rig.got(50)
        await until(lambda: topic.committed() == {0: 100})
    assert rig.values == list(range(50, 100))
    assert rig.heard.losses == [(0, 20, 50)]
    assert (rig.batches[0].first_offset, rig.batches[0].lost) == (20, 30)
    assert [batch.lost for batch in rig.batches[1:]] == [0] * (len(rig.batches) - 1)


async def test_rows_deleted_by_retention_while_running_are_recorded_as_lost(topic: Topic) -> None:
    """A consumer held back so long that retention overtakes it goes on behind the lost range."""
    for first in range(0, 400, 10):
        topic.send(range(first, first + 10), key=b"x" * 200)
    go = asyncio.Event()

    async def slow(batch: Batch) -> None:
        if batch.take():
            taken.append(batch)
            await go.wait()
            batch.done()

    taken: list[Batch] = []
    rig = Rig(topic, handle=slow, fetch_rows=10)
    rig.app.conf.consumer_max_fetch_size = 1000
    async with running(rig):
        await until(lambda: taken)
        topic.delete_before(300)
        go.set()
        await until(lambda: topic.committed() == {0: 400})
    (loss,) = rig.heard.losses
    seen = [record.offset for batch in taken for record in batch.records]
    assert seen == [*range(loss[1]), *range(loss[2], 400)]
    assert loss[2] == 300
    assert sum(batch.lost for batch in taken) == 300 - loss[1]


async def test_transaction_markers_are_no_holes(topic: Topic) -> None:
    """Markers take up offsets and are never handed out; they are told from lost records."""
    topic.send(range(5))
    topic.transaction(range(5, 10), commit=True)
    topic.transaction(range(10, 15), commit=False)
    topic.transaction(range(15, 20), commit=True)
    topic.send(range(20, 25))
    async with running(Rig(topic, fetch_rows=5)) as rig:
        await rig.got(20)
        await until(lambda: topic.committed() == {0: 28})
    assert set(rig.values) >= {*range(10), *range(15, 25)}
    assert rig.heard.losses == []
    assert all(batch.lost == 0 for batch in rig.batches)


async def test_retention_up_to_a_transaction_marker_is_told_apart(topic: Topic) -> None:
    """Only what retention deleted counts as lost, not the marker behind it."""
    topic.transaction(range(10), commit=True)
    topic.send(range(10, 20))
    topic.commit(0)
    topic.delete_before(10)
    async with running(Rig(topic)) as rig:
        await rig.got(10)
    assert rig.values == list(range(10, 20))
    assert rig.heard.losses == [(0, 0, 10)]


async def test_compaction_explains_holes(make_topic: Callable[..., Topic]) -> None:
    """In a compacted topic records vanish from the middle; nothing is lost by that."""
    topic = make_topic(
        **{
            "cleanup.policy": "compact",
            "segment.ms": "50",
            "min.cleanable.dirty.ratio": "0.001",
            "max.compaction.lag.ms": "1",
        }
    )

    def compacted() -> bool:
        topic.send([9], key=b"roll")
        return len(topic.stored_offsets()) < topic.sent

    for number in range(20):
        topic.send([number], key=b"same")
    await until(compacted)
    async with running(Rig(topic, compacted=True, fetch_rows=1)) as rig:
        stored = topic.stored_offsets()
        await until(lambda: topic.committed() == {0: topic.sent})
    assert set(stored) <= set(rig.offsets)
    assert rig.heard.losses == []


def drop(rig: Rig, lost: range, times: int) -> None:
    """Make the client lose records of a range, as if it had dropped them after fetching."""
    rig.app.finalize()
    fetch = rig.consumer._wait_next_records
    left = [times]

    async def lossy(timeout: float) -> Any:
        records, active = await fetch(timeout)
        kept = {}
        for tp, chunk in (records or {}).items():
            good = [record for record in chunk if record.offset not in lost]
            lossy_now = len(good) < len(chunk) and left[0] > 0
            left[0] -= lossy_now
            if rest := good if lossy_now else chunk:
                kept[tp] = rest
        return kept, active

    rig.consumer._wait_next_records = lossy  # type: ignore[method-assign]


async def test_a_hole_of_the_client_is_fetched_again(topic: Topic) -> None:
    """Records that the client dropped once are there at the second look; every row is delivered."""
    rig = Rig(topic)
    drop(rig, range(3), times=1)
    topic.send(range(10))
    async with running(rig):
        await rig.got(10)
        await until(lambda: topic.committed() == {0: 10})
        assert set(rig.consumer._holes.refetched.values()) == {0}
    assert rig.values == list(range(10))
    assert rig.heard.losses == []


async def test_an_unexplained_hole_ends_the_process(topic: Topic) -> None:
    """When the broker does not say why, nothing behind the hole is judged or committed."""
    rig = Rig(topic)
    drop(rig, range(3), times=99)
    topic.send(range(10))
    with pytest.raises(UnexplainedHole, match="expected offset 0, found 3 twice"):
        async with running(rig):
            await rig.crashed()
    assert rig.values == []
    assert topic.committed() == {}


async def test_a_log_shorter_than_the_commit_ends_the_process(topic: Topic) -> None:
    """Starting again from the log's end would skip what comes next; somebody has to look."""
    topic.send(range(10))
    topic.commit(50)
    with pytest.raises(OffsetsWentBack, match="expected offset 50, the log is at 10"):
        async with running(Rig(topic)) as rig:
            await rig.crashed()
    assert topic.committed() == {0: 50}
