"""Reads settled against a real store: what ends later is new, the rest is looked up."""

from typing import Any

import pytest

from schemas.identity import partition_of, read_key
from sinks.errors import Refused
from tests.conftest import ClickHouse
from tests.streams.world import ORG, Died, World, by_offset, outcomes, register
from tests.support.workers import read


def world_of(clickhouse: ClickHouse, partitions: int = 1, onboarded: str | None = None) -> World:
    """A world of reads with two devices."""
    world = World(clickhouse, "reads", partitions)
    for name in ("D1", "D2"):
        register(
            world.registry,
            "devices",
            {"id": f"dev_{name}", "external_id": name, "onboarded_at": onboarded},
        )
    return world


def test_later_reads_are_accepted_without_a_look_up(clickhouse: ClickHouse) -> None:
    """A turn in which every read ends later than those before it asks the store nothing."""
    world = world_of(clickhouse).restore()

    def refuse(*args: Any) -> Any:
        raise AssertionError("the store was asked")

    world.store.read = refuse  # type: ignore[method-assign]
    world.turn(world.batch([read("D1", 1), read("D1", 2), read("D2", 1)]))
    assert outcomes(clickhouse) == {"accepted": 3}


@pytest.mark.parametrize("restart", [False, True])
def test_late_reads_are_looked_up(clickhouse: ClickHouse, restart: bool) -> None:
    """A read that fills a gap is accepted, a re-send is a duplicate, another value is a conflict."""
    world = world_of(clickhouse).restore()
    world.turn(world.batch([read("D1", 1), read("D1", 5)]))
    if restart:
        world = world_of(clickhouse).restore({0: 2})
    late = [read("D1", 3), read("D1", 1), read("D1", 5, value=9.0), read("D1", 5, value=9.0), read("D2", 1)]
    world.turn(world.batch(late, 2))
    assert by_offset(clickhouse) == [
        "accepted", "accepted", "accepted", "duplicate", "conflict", "duplicate", "accepted",
    ]  # fmt: skip
    assert clickhouse.value("SELECT count() FROM reads") == 4


def test_the_same_read_twice_in_one_turn(clickhouse: ClickHouse) -> None:
    """The second is judged by the first, though nothing is stored yet; other types are other reads."""
    world = world_of(clickhouse).restore()
    rows = [read("D1", 1), read("D1", 1), read("D1", 1, value=1.0), read("D1", 1, type="Aggregate")]
    world.turn(world.batch(rows))
    assert by_offset(clickhouse) == ["accepted", "duplicate", "conflict", "accepted"]


def history(number: int, hours: float, **more: Any) -> dict[str, Any]:
    """A History read that begins an hour after the one before and lasts some hours."""
    start = 1_767_225_600 + number * 3600
    return read("D1", 0, type="History", start=start, end=start + int(hours * 3600), **more)


def test_history_reads_may_not_overlap(clickhouse: ClickHouse) -> None:
    """Neither with stored ones nor within a turn; touching is no overlap, a re-send no fault."""
    world = world_of(clickhouse, onboarded="2026-02-01T00:00:00.000Z").restore()
    world.turn(world.batch([history(0, 1), history(1, 1), history(1, 0.5), history(3, 1)]))
    world.turn(world.batch([history(0, 1), history(0, 2), history(2, 1), history(2, 1, value=7.0)], 4))
    assert by_offset(clickhouse) == [
        "accepted", "accepted", "quarantined", "accepted", "duplicate", "quarantined", "accepted", "conflict",
    ]  # fmt: skip
    found = clickhouse.rows("SELECT DISTINCT reasons FROM ledger WHERE outcome = 'quarantined'")
    assert found == [(["history_overlap:start"],)]


MIXED = [read("D1", 1), read("D1", 2), read("D1", 1), read("D1", 2, value=1.0), b"[]", read("none", 1)]
EXPECTED = ["accepted", "accepted", "duplicate", "conflict", "quarantined", "quarantined"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("insert", range(1, 5))
def test_a_death_at_any_write_changes_nothing(clickhouse: ClickHouse, insert: int, moment: str) -> None:
    """The successor settles the same rows to the same, once, and goes on from there."""
    world = world_of(clickhouse).restore()
    setattr(world.store, moment, insert)
    with pytest.raises(Died):
        world.turn(world.batch(MIXED))
    after = world_of(clickhouse).restore()
    after.turn(after.batch(MIXED))
    after.turn(after.batch([read("D1", 1), read("D1", 3)], len(MIXED)))
    assert by_offset(clickhouse) == [*EXPECTED, "duplicate", "accepted"]
    assert clickhouse.value("SELECT count() FROM reads") == 3
    assert clickhouse.value("SELECT uniqExact(position) FROM quarantine") == 2


def test_reads_of_other_homes_are_sent_on(clickhouse: ClickHouse) -> None:
    """All reads of a device are judged in one place, under the position they were received at."""
    world = world_of(clickhouse, 4).restore()
    world.turn(*[world.batch([read("D1", 1)], 7, partition=p) for p in range(4)])
    assert outcomes(clickhouse) == {"accepted": 1}
    assert len(world.published.sent) == 3
    world.turn(*[world.received(sent, 8 + n) for n, sent in enumerate(world.published.sent)])
    assert outcomes(clickhouse) == {"accepted": 1, "duplicate": 3}
    assert clickhouse.rows("SELECT DISTINCT offset FROM ledger") == [(7,)]


def test_a_turn_decided_anew_is_not_judged_by_its_own_rows(clickhouse: ClickHouse) -> None:
    """What the first attempt stored before the store refused another read is no earlier version."""
    world = world_of(clickhouse).restore()
    world.turn(world.batch([read("D1", 5), read("D1", 1)]))
    writer = world.store._writer
    insert = writer.insert

    def refusing(table: str, batch: Any) -> None:
        if table == "read_versions" and "D2" in batch.column("device_external_id").to_pylist():
            raise Refused("the store answered with code 407", 407)
        insert(table, batch)

    writer.insert = refusing  # type: ignore[method-assign]
    world.turn(world.batch([read("D1", 1, value=20), read("D1", 3), read("D2", 1), read("D1", 3)], 2))
    assert by_offset(clickhouse)[2:] == ["conflict", "accepted", "quarantined", "duplicate"]


@pytest.mark.parametrize(("value", "outcome"), [(None, "duplicate"), (9.0, "conflict")])
def test_partitions_added_after_a_death_before_the_ledger(
    clickhouse: ClickHouse, value: float | None, outcome: str
) -> None:
    """A later row of the read overtakes the redelivery in the new partition, and is not the first."""
    name = next(f"D{n}" for n in range(9) if partition_of(read_key(ORG, f"D{n}"), 2) == 1)
    more = {} if value is None else {"value": value}
    worlds = [World(clickhouse, "reads", partitions) for partitions in (1, 2)]
    for world in worlds:
        register(world.registry, "devices", {"id": f"dev_{name}", "external_id": name})
    one, two = worlds
    one.restore()
    one.store.after = 1
    with pytest.raises(Died):
        one.turn(one.batch([read(name, 1)]))
    two.restore()
    two.turn(two.batch([read(name, 1, **more)], partition=1))
    two.turn(two.batch([read(name, 1)]))
    two.turn(two.received(two.published.sent[-1], 1))
    found = clickhouse.rows("SELECT partition, outcome FROM ledger ORDER BY partition")
    assert found == [(0, "accepted"), (1, outcome)]
    assert clickhouse.value("SELECT count() FROM reads") == 1
