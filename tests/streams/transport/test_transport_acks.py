"""What is committed: only what an agent said is stored, whatever Faust acknowledges."""

from typing import Any

from streams.transport import Batch, batch_topic
from tests.streams.transport.rig import Rig, Topic, running, until


async def test_finished_batches_are_committed(topic: Topic) -> None:
    """A batch that is done is committed to its end."""
    topic.send(range(100))
    async with running(Rig(topic)) as rig:
        await rig.got(100)
        await until(lambda: topic.committed() == {0: 100})
    assert rig.values == list(range(100))


async def test_a_batch_that_is_never_done_is_not_committed(topic: Topic) -> None:
    """Faust acknowledges an event when the agent asks for the next one; nothing is committed by that."""
    topic.send(range(50))
    async with running(Rig(topic, finish=False, rebalance_timeout_s=0.4)) as rig:
        await rig.got(50)
        topic.send(range(50, 60))
        await rig.got(60)
        await rig.consumer.commit()
        assert topic.committed() == {}
    assert topic.committed() == {}


async def test_a_skipped_event_is_not_committed(topic: Topic) -> None:
    """Faust acknowledges events that a filter skips, even under noack; they are not committed either."""
    seen: list[Batch] = []
    rig = Rig(topic, agent=False)

    def skip(batch: Batch) -> bool:
        seen.append(batch)
        return False

    async def agent(stream: Any) -> None:
        async for _ in stream.filter(skip).noack():
            raise AssertionError("everything is skipped")

    rig.app.agent(batch_topic(rig.app, topic.name))(agent)
    async with running(rig):
        for count in (1, 2, 3):
            topic.send([count])
            await until(lambda count=count: sum(map(len, seen)) >= count)
        await rig.consumer.commit()
        assert topic.committed() == {}


async def test_an_exception_in_an_agent_ends_it_and_commits_nothing(topic: Topic) -> None:
    """Faust would start the agent again with the next event, this one lost to the process."""
    topic.send(range(10))
    rig = Rig(topic, handle=_refuse)
    async with running(rig):
        await until(lambda: rig.failures)
        topic.send(range(10, 20))
        await rig.consumer.commit()
        assert topic.committed() == {}
    assert [type(exc) for exc in rig.failures] == [ZeroDivisionError]


async def _refuse(batch: Batch) -> None:
    raise ZeroDivisionError


async def test_commits_advance_over_contiguous_batches_only(topic: Topic) -> None:
    """A batch finished behind an unfinished one waits for it, then both are committed."""
    topic.send(range(30))
    async with running(Rig(topic, finish=False, fetch_rows=10)) as rig:
        await rig.got(30)
        first, second, third = rig.batches
        third.done()
        second.done()
        await rig.consumer.commit()
        assert topic.committed() == {}
        first.done()
        await until(lambda: topic.committed() == {0: 30})


async def test_unfinished_batches_are_delivered_to_the_next_owner(topic: Topic) -> None:
    """What was handed out and not finished comes again after a restart, what was finished does not."""
    topic.send(range(30))
    async with running(Rig(topic, finish=False, fetch_rows=10, rebalance_timeout_s=0.4)) as rig:
        await rig.got(30)
        rig.batches[0].done()
        rig.batches[2].done()
    async with running(Rig(topic)) as again:
        await again.got(20)
    assert again.values == list(range(10, 30))
