"""Gates: nothing is judged before the restore; whoever waits when partitions go is told."""

import asyncio
import time
from collections.abc import Mapping

from faust.types import TP

from streams.gates import Gates
from streams.transport import Batch
from streams.transport.thread import RELEASED, Start
from tests.streams.transport.rig import Rig, Topic, running, until


async def nobody_before() -> None:
    """There is no insert of a former owner."""


class Held:
    """A restore that ends when it is told to, and what was judged meanwhile."""

    def __init__(self, topic: Topic) -> None:
        self.go = asyncio.Event()
        self.began: list[tuple[int, float]] = []
        self.answers: list[bool] = []
        self.failures: list[BaseException] = []
        self.gates = Gates({topic.name: self.restore}, nobody_before, self.failures.append)
        self.rig = Rig(topic, listener=self.gates, handle=self.handle)
        self.waiting = 0

    async def restore(self, generation: int, partitions: Mapping[int, Start]) -> None:
        self.began.append((generation, time.monotonic()))
        await self.go.wait()

    async def handle(self, batch: Batch) -> None:
        self.waiting += 1
        self.answers.append(await self.gates.wait(batch))
        if self.answers[-1] and batch.take():
            batch.done()


async def test_nothing_is_judged_before_the_restore_has_ended(topic: Topic) -> None:
    """Batches wait at the gate of their topic and generation, and pass it after the restore."""
    topic.send(range(10))
    held = Held(topic)
    async with running(held.rig):
        await until(lambda: held.waiting)
        assert held.answers == []
        assert not held.gates.all_open
        held.go.set()
        await until(lambda: topic.committed() == {0: 10})
        assert held.gates.all_open
    assert set(held.answers) == {True}


async def test_the_gate_stands_before_the_first_fetch(topic: Topic) -> None:
    """However long the broker takes to seek, no batch of the new assignment finds no gate."""
    topic.send(range(10))
    held = Held(topic)
    held.rig.app.finalize()
    thread = held.rig.consumer._thread
    seek_all = thread.seek_all

    async def slow(positions: Mapping[TP, int]) -> None:
        stood.append(bool(held.gates._open))
        await seek_all(positions)

    stood: list[bool] = []
    thread.seek_all = slow  # type: ignore[method-assign]
    async with running(held.rig):
        await until(lambda: held.waiting)
    assert stood == [True]


async def test_a_revocation_releases_who_waits(topic: Topic) -> None:
    """The batch at the gate is not judged, and its offsets are not committed."""
    topic.send(range(10))
    held = Held(topic)
    async with running(held.rig):
        await until(lambda: held.waiting)
        await held.rig.consumer.hand_over()
        await until(lambda: held.answers)
    assert held.answers == [False]
    assert topic.committed() == {0: 0}
    assert held.failures == []


def start(metadata: str, committed: int | None = 5) -> Start:
    """Where a partition begins, with the metadata of its last commit."""
    return Start(committed or 0, committed, 0, 9, metadata == RELEASED)


async def _restored_after(starts: Mapping[TP, Start], first_member: bool) -> float:
    """Seconds until the restore began, when the former owner is gone after half a second."""
    began: list[float] = []

    async def restore(generation: int, partitions: Mapping[int, Start]) -> None:
        began.append(time.monotonic())

    failures: list[BaseException] = []
    gates = Gates({"t": restore}, lambda: asyncio.sleep(0.5), failures.append)
    assigned = time.monotonic()
    gates.assigned(1, starts, first_member)
    await until(lambda: began)
    assert not failures
    return began[0] - assigned


async def test_a_restore_waits_for_inserts_of_a_former_owner() -> None:
    """Unless every partition was released in good order, an insert of the dead may still be running."""
    good, bad = start(RELEASED), start("")
    assert await _restored_after({TP("t", 0): good, TP("t", 1): bad}, False) >= 0.5
    assert await _restored_after({TP("t", 0): start("", None)}, False) >= 0.5
    assert await _restored_after({TP("t", 0): good, TP("t", 1): good}, False) < 0.4
    assert await _restored_after({TP("t", 0): bad}, True) < 0.4


async def test_a_failed_restore_ends_the_process() -> None:
    """A gate that can never open is a failure, not a wait."""
    failures: list[BaseException] = []

    async def restore(generation: int, partitions: Mapping[int, Start]) -> None:
        raise ZeroDivisionError

    Gates({"t": restore}, nobody_before, failures.append).assigned(1, {TP("t", 0): start("")}, True)
    await until(lambda: failures)
    assert isinstance(failures[0], ZeroDivisionError)


async def test_what_is_waited_for_is_told() -> None:
    """Partitions, the former owner's inserts, the restore, in this order; nothing when all gates are open."""
    gone, restored = asyncio.Event(), asyncio.Event()
    failures: list[BaseException] = []

    async def restore(generation: int, partitions: Mapping[int, Start]) -> None:
        await restored.wait()

    async def former_owner_gone() -> None:
        await gone.wait()

    gates = Gates({"t": restore}, former_owner_gone, failures.append)
    assert "waiting for partitions" in (gates.why_closed or "")
    gates.assigned(1, {TP("t", 0): start("")}, False)
    await until(lambda: "t: waiting until no insert of a former owner" in (gates.why_closed or ""))
    gone.set()
    await until(lambda: gates.why_closed == "restoring t")
    restored.set()
    await until(lambda: gates.why_closed is None)
    assert gates.all_open
    gates.revoked(1)
    assert "waiting for partitions" in (gates.why_closed or "")
    assert not failures
