"""Joins: explicit positions, batches of earlier assignments, handing over in good order."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata

from streams.transport import Batch
from streams.transport.thread import BatchConsumerThread, commit_note
from tests.streams.transport.rig import Rig, Topic, running, until


async def test_rows_fetched_before_the_join_was_complete_are_fetched_again(topic: Topic) -> None:
    """Without any commit the start of the log is sought explicitly: a fetch too early loses nothing."""
    topic.send(range(100))
    rig = Rig(topic)

    async def fetch_too_early() -> None:
        consumer = rig.consumer
        consumer.flow_active = True
        early.update(await consumer._thread.getmany(consumer.assignment(), 5.0))
        await seek()

    early: dict[Any, Any] = {}
    rig.app.finalize()
    seek = rig.consumer.perform_seek
    rig.consumer.perform_seek = fetch_too_early  # type: ignore[method-assign]
    async with running(rig):
        await rig.got(100)
        assert rig.consumer._holes.refetched == {}, "found by the hole it left, not avoided"
    assert sum(map(len, early.values())) == 100
    assert rig.values == list(range(100))


async def test_a_join_before_any_commit_loses_nothing(make_topic: Callable[..., Topic]) -> None:
    """Rows that a member had fetched and not finished when another one joined come again."""
    topic = make_topic(4)
    for partition in range(4):
        topic.send(range(partition * 100, partition * 100 + 100), partition)
    async with running(Rig(topic, finish=False, rebalance_timeout_s=2.0)) as first:
        await first.got(400)
        seen = len(first.batches)
        async with running(Rig(topic, rebalance_timeout_s=2.0)) as second:
            first.finish = True
            await until(lambda: topic.committed() == dict.fromkeys(range(4), 100))
            again = [int(r.value) for b in first.batches[seen:] for r in b.records]
            assert sorted(again + second.values) == list(range(400))
            assert len(first.heard.starts) == len(second.heard.starts) == 2


async def test_a_batch_from_before_a_rebalance_changes_nothing(topic: Topic) -> None:
    """Its rows are somebody else's by now: `done` neither commits them nor disturbs the books."""
    topic.send(range(10))
    async with running(Rig(topic, finish=False, rebalance_timeout_s=0.4)) as rig:
        await rig.got(10)
        old = rig.batches[0]
        await rig.consumer.hand_over()
        await rig.consumer.perform_seek()
        rig.consumer.resume_flow()
        await rig.got(20)
        assert not old.owned
        assert not old.take()
        old.done()
        assert rig.consumer.in_hand == 1
        await rig.consumer.commit()
        assert topic.committed() == {}
        rig.batches[1].done()
        await until(lambda: topic.committed() == {0: 10})


async def test_handing_over_finishes_what_is_in_hand(topic: Topic) -> None:
    """The batch in hand is stored and committed first; buffered ones are dropped unjudged."""
    topic.send(range(50))
    judged: list[Batch] = []

    async def one_at_a_time(batch: Batch) -> None:
        if batch.take():
            judged.append(batch)
            await done.wait()

    async def store_slowly() -> None:
        await until(lambda: judged and not rig.consumer.flow_active)
        judged[0].done()
        done.set()

    done = asyncio.Event()
    rig = Rig(topic, handle=one_at_a_time, fetch_rows=10)
    rig.app.task(store_slowly)
    async with running(rig):
        await until(lambda: judged)
    assert [batch.first_offset for batch in judged] == [0]
    assert await topic.commits() == {0: (10, commit_note(True, ""))}
    async with running(Rig(topic)) as after:
        await after.got(40)
    assert after.heard.starts[0].released
    assert after.values == list(range(10, 50))


async def test_a_worker_that_could_not_finish_says_so(topic: Topic) -> None:
    """With a batch still in hand the commit does not say `released`, and the next owner can tell."""
    topic.send(range(10))
    async with running(Rig(topic)) as rig:
        await until(lambda: topic.committed() == {0: 10})
        rig.finish = False
        rig.consumer.hand_over_s = 0.2
        topic.send(range(10, 20))
        await rig.got(20)
    assert await topic.commits() == {0: (10, commit_note(False, ""))}
    async with running(Rig(topic)) as after:
        await after.got(10)
    assert not after.heard.starts[0].released
    assert after.values == list(range(10, 20))


async def test_nothing_is_handed_out_while_the_former_owners_note_stands(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that fails is tried again before any row: the next owner would not wait for what it stores."""
    async with running(Rig(topic)):
        pass
    assert await topic.commits() == {0: (0, commit_note(True, ""))}
    topic.send(range(10))
    commit = BatchConsumerThread.commit_offsets
    tried: list[bool] = []
    seen_before: list[int] = []

    async def failing(thread: BatchConsumerThread, offsets: Any, released: bool) -> bool:
        tried.append(released)
        if len(tried) < 4:
            return False
        if len(tried) == 4:
            seen_before.append(len(rig.batches))
        return await commit(thread, offsets, released)

    monkeypatch.setattr(BatchConsumerThread, "commit_offsets", failing)
    rig = Rig(topic, finish=False)
    async with running(rig):
        await rig.got(10)
        assert await topic.commits() == {0: (0, commit_note(False, ""))}
        rig.consumer.hand_over_s = 0.1
    assert seen_before == [0]
    assert rig.values == list(range(10))


async def test_an_idle_worker_releases_its_partitions(make_topic: Callable[..., Topic]) -> None:
    """Partitions without a row are released too, at the offset where they began."""
    topic = make_topic(2)
    async with running(Rig(topic)):
        pass
    assert await topic.commits() == dict.fromkeys((0, 1), (0, commit_note(True, "")))


async def test_a_stop_in_the_middle_of_a_rebalance_is_no_crash(topic: Topic) -> None:
    """Faust takes what cancels its fetcher while it rebalances for a crash; the end of a worker is none."""

    async def hang(*_: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    asked = asyncio.Event()
    topic.send(range(10))
    async with running(Rig(topic)) as rig:
        await rig.got(10)
        rig.consumer._thread.getmany = hang  # type: ignore[method-assign]
        await asked.wait()
        rig.app.rebalancing = True
    assert rig.app._crash_reason is None
    assert await topic.commits() == {0: (10, commit_note(True, ""))}


async def test_a_group_that_was_formed_without_knowing_its_topics_is_formed_again(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that starts may not know its topics: nobody is left without partitions for minutes."""
    blind: dict[ClusterMetadata, bool] = {}
    starting = True
    update, partitions = ClusterMetadata.update_metadata, ClusterMetadata.partitions_for_topic

    def updated(self: ClusterMetadata, metadata: Any) -> None:
        blind[self] = starting
        update(self, metadata)

    def known(self: ClusterMetadata, name: str) -> Any:
        return None if blind.get(self) and name == topic.name else partitions(self, name)

    monkeypatch.setattr(ClusterMetadata, "update_metadata", updated)
    monkeypatch.setattr(ClusterMetadata, "partitions_for_topic", known)
    topic.send(range(10))
    async with running(Rig(topic)) as rig:
        assert rig.heard.starts == {}
        starting = False
        await rig.consumer.know_topics()
        await rig.got(10)
        await rig.consumer.know_topics()
    assert len(rig.heard.generations) == 2


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_records_are_read(topic: Topic, codec: str) -> None:
    """Publishers choose their compression; without the codec's package one record kills a worker."""
    topic.send(range(1000), **{"compression.type": codec})
    async with running(Rig(topic)) as rig:
        await rig.got(1000)
        await until(lambda: topic.committed() == {0: 1000})
    assert rig.values == list(range(1000))


async def test_commits_of_a_deleted_topic_are_not_of_the_new_one(topic: Topic) -> None:
    """A worker that hands over while its topic is made anew commits old offsets to the new log."""
    topic.send(range(10))
    topic.log_id = "before"
    async with running(Rig(topic)) as old:
        await old.got(10)
    assert topic.committed() == {0: 10}
    topic.log_id = "after"
    async with running(Rig(topic)) as new:
        await new.got(10)
    assert new.heard.starts[0].committed is None
    assert new.values == list(range(10))
    assert await topic.commits() == {0: (10, commit_note(True, "after"))}
