"""The verifier against books made by hand: each fault is reported, and ends when it is mended."""

from collections.abc import Callable, Iterator

import pytest

from schemas.identity import position
from streams.verify.findings import Kind
from sunledger.embedded.stack import Endpoints
from tests.conftest import ClickHouse
from tests.streams.verify_world import VerifyWorld
from tests.support.workers import wait_until

OUTCOMES = ("accepted", "duplicate", "quarantined", "conflict", "accepted")


@pytest.fixture
def world(endpoints: Endpoints, kafka_prefix: str, clickhouse: ClickHouse) -> Iterator[VerifyWorld]:
    """Two partitions: ten rows in two batches, and five rows in one; everything committed."""
    made = VerifyWorld(endpoints.kafka, kafka_prefix, clickhouse)
    for partition, count in ((0, 10), (1, 5)):
        made.send(count, partition)
        for first in range(0, count, 5):
            made.batch(first, OUTCOMES, partition)
        made.commit(count, partition)
    yield made
    made.close()


def test_books_that_agree_are_ready(world: VerifyWorld) -> None:
    """Nothing is reported, and the verifier says so only after a full pass."""
    assert world.verifier.why_not_ready() == "the first full pass is under way"
    assert world.faults() == {}
    assert world.verifier.why_not_ready() is None


def test_a_missing_range_is_a_gap(world: VerifyWorld) -> None:
    """Offsets between ranges, and offsets before the first one, were finished by nobody."""
    world.delete("ledger_ranges", "partition = 0 AND first_offset = 0")
    found = world.faults()
    assert set(found) == {Kind.GAP}
    assert (found[Kind.GAP].first, found[Kind.GAP].next_offset, found[Kind.GAP].count) == (0, 5, 5)
    assert f"gap {world.topic}[0] 0..4" in (world.verifier.why_not_ready() or "")
    world.range(0, 3)
    assert world.faults()[Kind.GAP].first == 3
    world.range(0, 5)
    assert world.faults() == {}


def test_a_head_that_retention_took_is_known_from_the_ledger(world: VerifyWorld) -> None:
    """Kafka has forgotten the first rows; their outcomes say that there was a range."""
    world.delete_records(5)
    assert world.faults() == {}
    world.delete("ledger_ranges", "partition = 0 AND first_offset = 0")
    assert world.faults()[Kind.GAP].next_offset == 5


def test_a_missing_last_range_is_a_commit_ahead(world: VerifyWorld) -> None:
    """What is committed and in no range was finished by nobody; so was everything when no range is left."""
    world.faults()
    world.delete("ledger_ranges", "partition = 0 AND first_offset = 5")
    found = world.faults()
    assert set(found) == {Kind.COMMIT_AHEAD}
    assert (found[Kind.COMMIT_AHEAD].first, found[Kind.COMMIT_AHEAD].next_offset) == (5, 10)
    world.delete("ledger_ranges", "partition = 0")
    assert world.faults()[Kind.COMMIT_AHEAD].count == 10
    world.range(0, 5)
    world.range(5, 10)
    assert world.faults() == {}


def test_a_commit_moved_ahead(world: VerifyWorld) -> None:
    """A group that was told to begin behind rows that nobody judged."""
    world.send(5)
    assert world.faults() == {}
    world.commit(13)
    found = world.faults()
    assert (found[Kind.COMMIT_AHEAD].first, found[Kind.COMMIT_AHEAD].next_offset) == (10, 13)
    world.commit(13, note="released:another-life")
    assert world.faults() == {}, "a commit of a log that was deleted"
    world.commit(10)
    assert world.faults() == {}


def judged_anew(world: VerifyWorld, offset: int, outcome: str, **changes: int) -> None:
    """Give a row of partition 0 another ledger row."""
    world.delete("ledger_rows", f"position = {position(0, 0, offset)}")
    world.ledger(offset, outcome, **changes)


Act = Callable[[VerifyWorld], object]
KEY_OF_9 = {
    "home": 0, "identity": 5, "content_hash": 16, "position": position(0, 0, 9), "outcome": "accepted"
}  # fmt: skip
ROWS: list[tuple[str, Act, Kind, int, Act]] = [
    (
        "a received row without an outcome",
        lambda w: w.delete("ledger_rows", f"position = {position(0, 0, 6)}"),
        Kind.NO_OUTCOME,
        6,
        lambda w: w.ledger(6, "duplicate"),
    ),
    (
        "an accepted row without its version",
        lambda w: w.delete("payment_versions", f"position = {position(0, 0, 5)}"),
        Kind.NO_VERSION,
        5,
        lambda w: w.version(5, "accepted"),
    ),
    (
        "a version with other content than the ledger says",
        lambda w: (
            w.delete("payment_versions", f"position = {position(0, 0, 8)}"),
            w.version(8, "conflict", content_hash=1),
        )[0],
        Kind.NO_VERSION,
        8,
        lambda w: (
            w.delete("payment_versions", f"position = {position(0, 0, 8)}"),
            w.version(8, "conflict"),
        )[0],
    ),
    (
        "a quarantined row without its quarantine row",
        lambda w: w.delete("quarantine_rows", f"position = {position(0, 0, 7)}"),
        Kind.NO_QUARANTINE_ROW,
        7,
        lambda w: w.quarantined(7),
    ),
    (
        "a version without its outcome that stays",
        lambda w: w.version(6, "accepted"),
        Kind.VERSION_WITHOUT_OUTCOME,
        6,
        lambda w: w.delete("payment_versions", f"position = {position(0, 0, 6)}"),
    ),
    (
        "a quarantine row without its outcome",
        lambda w: w.quarantined(9),
        Kind.QUARANTINE_WITHOUT_OUTCOME,
        9,
        lambda w: w.delete("quarantine_rows", f"position = {position(0, 0, 9)}"),
    ),
    (
        "a row judged twice",
        lambda w: (
            w.clickhouse.client.command("SYSTEM STOP MERGES ledger_rows"),
            w.ledger(6, "quarantined"),
        )[1],
        Kind.TWO_OUTCOMES,
        6,
        lambda w: (
            w.clickhouse.client.command("SYSTEM START MERGES ledger_rows"),
            w.clickhouse.client.command("OPTIMIZE TABLE ledger_rows FINAL"),
        )[0],
    ),
    (
        "a duplicate of a payment that is nowhere",
        lambda w: judged_anew(w, 6, "duplicate", identity=999),
        Kind.DUPLICATE_OF_NOTHING,
        6,
        lambda w: judged_anew(w, 6, "duplicate"),
    ),
    (
        "a duplicate of a content that was never stored",
        lambda w: judged_anew(w, 6, "duplicate", content_hash=999),
        Kind.DUPLICATE_OF_OTHER,
        6,
        lambda w: judged_anew(w, 6, "duplicate"),
    ),
    (
        "a row that was stored as two payments",
        lambda w: w.version(9, "accepted", identity=777),
        Kind.VERSION_WITHOUT_OUTCOME,
        9,
        lambda w: w.delete("payment_versions", "identity = 777"),
    ),
    (
        "two replays of one row that are two payments",
        lambda w: (judged_anew(w, 5, "accepted", replay_of=2), judged_anew(w, 9, "accepted", replay_of=2))[0],
        Kind.REPLAYED_TWICE,
        5,
        lambda w: (judged_anew(w, 5, "accepted"), judged_anew(w, 9, "accepted", replay_of=2))[0],
    ),
    (
        "a payment that was accepted twice",
        lambda w: (
            w.delete("payment_versions", f"position = {position(0, 0, 9)}"),
            w.version(9, "accepted", identity=5),
            judged_anew(w, 9, "accepted", identity=5),
        )[0],
        Kind.ACCEPTED_TWICE,
        5,
        lambda w: (w.decide(5, 12, 16), w.insert("payment_keys", KEY_OF_9))[0],
    ),
    (
        "a version with another outcome than the ledger tells",
        lambda w: (
            w.delete("payment_versions", f"position = {position(0, 0, 8)}"),
            w.version(8, "accepted"),
        )[0],
        Kind.OTHER_OUTCOME,
        8,
        lambda w: (
            w.delete("payment_versions", f"position = {position(0, 0, 8)}"),
            w.version(8, "conflict"),
        )[0],
    ),
    (
        "a payment whose key is gone",
        lambda w: w.delete("payment_keys", f"position = {position(0, 0, 5)}"),
        Kind.NO_KEY,
        5,
        lambda w: w.key(5, "accepted"),
    ),
    (
        "rows beyond the end of the log",
        lambda w: w.version(30, "accepted"),
        Kind.BEYOND_LOG,
        10,
        lambda w: w.delete("payment_versions", f"position = {position(0, 0, 30)}"),
    ),
    (
        "rows of a partition that there is not",
        lambda w: w.ledger(3, "duplicate", 77),
        Kind.BEYOND_LOG,
        0,
        lambda w: w.delete("ledger_rows", f"position = {position(0, 77, 3)}"),
    ),
]


def test_a_fault_in_the_tables_is_reported_until_it_is_mended(world: VerifyWorld) -> None:
    """Found by the next full pass, named with its first offset, and gone when the tables agree again.

    One after the other in one world: each begins with books that agree, because the one before was mended.
    """
    assert world.faults() == {}
    for what, break_it, kind, first, mend in ROWS:
        break_it(world)
        world.passes_until(lambda found, kind=kind: kind in found, what)  # type: ignore[misc]
        assert world.faults(1)[kind].first == first, what
        assert str(kind) in (world.verifier.why_not_ready() or ""), what
        mend(world)
        world.passes_until(lambda found: found == {}, what)
        assert world.verifier.why_not_ready() is None, what


def test_a_range_beyond_the_end_of_the_log(world: VerifyWorld) -> None:
    """Somebody recorded as finished what the log does not hold."""
    world.range(10, 12)
    world.passes_until(lambda found: Kind.BEYOND_LOG in found, "the fault")
    assert world.faults(1)[Kind.BEYOND_LOG].first == 10


def test_partitions_that_are_added_are_compared_at_once(world: VerifyWorld) -> None:
    """The next pass asks the broker about them, whatever its client knew before."""
    assert world.faults() == {}
    number = world.add_partition()
    wait_until(world.verifier.run_pass, 60, "a pass over the new partition")
    world.send(2, number)
    world.batch(0, ("duplicate", None), number)
    found = world.faults()
    assert set(found) == {Kind.NO_OUTCOME}
    assert (found[Kind.NO_OUTCOME].partition, found[Kind.NO_OUTCOME].first) == (world.where(number), 1)


def test_what_is_new_is_compared_at_once(world: VerifyWorld) -> None:
    """A fault in rows that came after the full pass needs no other full pass."""
    verifier = world.make(full_interval_s=100_000.0)
    assert world.faults(verifier=verifier) == {}
    world.send(5)
    world.batch(10, ("accepted", None, "quarantined", "accepted", "duplicate"))
    world.commit(15)
    found = world.faults(2, verifier)
    assert set(found) == {Kind.NO_OUTCOME}
    assert (found[Kind.NO_OUTCOME].first, found[Kind.NO_OUTCOME].next_offset) == (11, 12)
    world.delete("payment_versions", f"position = {position(0, 0, 0)}")
    assert set(world.faults(3, verifier)) == {Kind.NO_OUTCOME}, "old rows are left to the next full pass"


def test_numbers_of_a_range_must_add_up(world: VerifyWorld) -> None:
    """Rows, forwarded, lost and markers are as many as offsets; copies lie inside."""
    world.send(5)
    world.batch(10, ["duplicate"] * 5, rows=4)
    assert set(world.faults()) == {Kind.MISCOUNT}
    world.delete("ledger_ranges", "first_offset = 10")
    world.range(10, 15, copies=[3])
    assert Kind.MISCOUNT in world.faults()
    world.delete("ledger_ranges", "first_offset = 10")
    world.range(10, 15)
    assert world.faults() == {}


def test_lost_offsets_are_reported_until_they_are_known(world: VerifyWorld) -> None:
    """Retention took rows nobody had read; an operator's note ends the report, and only of these offsets."""
    world.send(10)
    world.batch(10, [None] * 4 + ["duplicate"] * 6, lost=4)
    found = world.faults()
    assert set(found) == {Kind.LOST}
    assert (found[Kind.LOST].first, found[Kind.LOST].next_offset, found[Kind.LOST].count) == (10, 14, 4)
    for known, left in ((12, 2), (14, 0)):
        verifier = world.make(losses={world.where(): [(10, known)]})
        kinds = world.faults(verifier=verifier)
        assert (kinds[Kind.LOST].count if left else kinds) == (left or {})
    for at in range(10, 14):
        world.ledger(at, "duplicate")
    assert world.faults() == {}, "lost to a redelivery only: they have outcomes"


def test_harmless_overlaps(world: VerifyWorld) -> None:
    """A redelivery with other bounds, other shares of forwarded rows, or overtaken by retention."""
    world.range(3, 8)
    world.range(0, 10, rows=4, forwarded=6)
    world.range(0, 10, lost=2)
    assert world.faults() == {}


def test_overlaps_that_contradict_each_other(world: VerifyWorld) -> None:
    """Two ranges that disagree about what the log holds, whichever was stored first."""
    world.range(2, 8, copies=[6])
    found = world.faults()
    assert set(found) == {Kind.CONTRADICTION, Kind.STRANGER}
    assert found[Kind.CONTRADICTION].first == found[Kind.STRANGER].first == 6
    world.delete("ledger_ranges", "first_offset = 2")
    world.range(2, 8, markers=[3])
    assert world.faults()[Kind.CONTRADICTION].first == 3
    world.delete("ledger_ranges", "first_offset = 2")
    assert world.faults() == {}


def test_forwarded_rows_may_be_on_their_way(world: VerifyWorld) -> None:
    """A row sent on is missed only when its copy's partition was judged as far as its log went then."""
    world.send(5)
    world.send(1, partition=1)  # the copy
    world.batch(10, ["accepted", None, "duplicate", "duplicate", "duplicate"], forwarded=1)
    assert world.faults() == {}
    assert world.verifier.why_not_ready() is None
    world.range(5, 6, partition=1, copies=[5])
    found = world.faults()
    assert set(found) == {Kind.NO_OUTCOME}, "the copy is done, and its row has no outcome"
    assert found[Kind.NO_OUTCOME].first == 11
    world.row(11, "accepted")
    assert world.faults() == {}


def test_rows_that_are_being_stored_are_no_fault(world: VerifyWorld) -> None:
    """A worker that died after the facts, or before the range, or before the commit, left nothing wrong."""
    world.send(15)
    world.version(10, "accepted")
    world.quarantined(11)
    world.row(12, "accepted")
    assert world.faults() == {}
    world.batch(10, ["accepted", "quarantined", "accepted"])
    assert world.faults() == {}


def test_an_earlier_life_of_a_topic_is_compared_too(world: VerifyWorld) -> None:
    """A topic that was made anew: its former ranges and rows still have to agree."""
    world.clickhouse.client.command(
        "INSERT INTO topic_epochs (topic, topic_id, epoch, first_seen)"
        f" VALUES ('{world.topic}', 'old', 0, '2020-01-01')"
    )
    found = world.faults()
    assert set(found) == {Kind.COMMIT_AHEAD}, "what is committed of this life has no ranges"
    assert found[Kind.COMMIT_AHEAD].partition.epoch == 1
    world.delete("ledger_rows", f"position = {position(0, 1, 2)}")
    found = world.faults()
    assert found[Kind.NO_OUTCOME].partition.epoch == 0
