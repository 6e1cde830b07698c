"""Payments settled against a real store: outcomes, replays, deaths between any two writes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import time_machine

from schemas.identity import home_of, payment_key
from schemas.outcomes import Code
from sinks.errors import Refused
from streams.brakes import MIN_ORGANIZATION_ROWS
from streams.store import Abandoned, Always
from tests.conftest import ClickHouse
from tests.streams.made import batch_of, record
from tests.streams.world import ORG, Died, World, by_offset, home_partition, outcomes, register
from tests.support.workers import payment

CHANGED = {"PAYMENT_AMOUNT": "1"}


def test_outcomes_within_one_turn(clickhouse: ClickHouse) -> None:
    """The second of a turn is judged by the first, though nothing is stored yet."""
    world = World(clickhouse).restore()
    rows = [
        payment(1), payment(1), payment(1, **CHANGED), payment(1, **CHANGED), payment(1, NOTES=None),
        payment(2), payment(2, STATUS="paid"), b"nonsense",
    ]  # fmt: skip
    world.turn(world.batch(rows))
    assert by_offset(clickhouse) == [
        "accepted", "duplicate", "conflict", "duplicate", "duplicate", "accepted", "duplicate", "quarantined",
    ]  # fmt: skip


@pytest.mark.parametrize("restart", [False, True])
def test_outcomes_across_turns(clickhouse: ClickHouse, restart: bool) -> None:
    """The same, judged by what was stored before, by the same worker or by its successor."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1), payment(2, STATUS="paid"), payment(3)]))
    if restart:
        world = World(clickhouse).restore({0: 3})
    again = [payment(1), payment(1, **CHANGED), payment(2), payment(2, STATUS="void"), payment(4)]
    world.turn(world.batch(again, 3))
    world.turn(world.batch(again, 8))
    assert by_offset(clickhouse) == [
        *["accepted"] * 3, "duplicate", "conflict", "duplicate", "conflict", "accepted", *["duplicate"] * 5,
    ]  # fmt: skip
    assert clickhouse.value("SELECT count() FROM payments") == 4
    assert clickhouse.rows("SELECT status FROM payments WHERE id = 'P2'") == [("void",)]


def test_a_payment_that_is_taken_back_by_a_status_it_did_not_have_counts_no_more(
    clickhouse: ClickHouse,
) -> None:
    """The rule takes the new version, the case names the field; a row without a status changes nothing."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1), payment(1, STATUS="Reversed"), payment(1)]))
    assert by_offset(clickhouse) == ["accepted", "conflict", "duplicate"]
    assert clickhouse.rows("SELECT status, counted FROM payments") == [("Reversed", False)]
    case = clickhouse.rows("SELECT differing_fields, decision, open FROM conflicts")
    assert case == [(["STATUS"], "take_new", False)]


def test_a_status_is_heard_whatever_came_before_it(clickhouse: ClickHouse) -> None:
    """None, pending, processed: the payment counts in the end, and without a status nothing changes."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1), payment(1, STATUS="pending"), payment(1, STATUS="processed")]))
    world.turn(world.batch([payment(1), payment(1, UTILITY_ID="U1")], 3))
    assert by_offset(clickhouse) == ["accepted", "conflict", "conflict", "duplicate", "duplicate"]
    assert clickhouse.rows("SELECT status, counted FROM payments") == [("processed", True)]


def uploads(clickhouse: ClickHouse) -> World:
    """A world with a dataset of uploads, whose files need no TRANSACTION_TYPE and no currency."""
    world = World(clickhouse).restore()
    given = {"id": "ds_up", "profile": "upload", "default_currency": "NGN"}
    register(world.registry, "datasets", given)
    return world


def test_another_currency_than_the_default_is_no_duplicate(clickhouse: ClickHouse) -> None:
    """The same currency by name is one; a change of the default alone makes no difference."""
    world = uploads(clickhouse)
    given = [None, "NGN", "USD", None]
    world.turn(world.batch([payment(1, PAYMENT_CURRENCY=code) for code in given], dataset_id="ds_up"))
    register(
        world.registry,
        "datasets",
        {"id": "ds_up", "profile": "upload", "default_currency": "KES", "version": 2},
    )
    world.turn(world.batch([payment(1, PAYMENT_CURRENCY=None)], 4, dataset_id="ds_up"))
    assert by_offset(clickhouse) == ["accepted", "duplicate", "conflict", "duplicate", "duplicate"]
    assert clickhouse.rows("SELECT differing_fields, open FROM conflicts") == [(["PAYMENT_CURRENCY"], True)]


def test_a_reversal_of_a_payment_without_a_type_is_no_duplicate(clickhouse: ClickHouse) -> None:
    """Files of uploads have no types: the reversal counts beside the payment, whatever its sign."""
    world = uploads(clickhouse)
    rows = [payment(1, TRANSACTION_TYPE=None), payment(1, TRANSACTION_TYPE="REVERSAL")]
    world.turn(world.batch(rows, dataset_id="ds_up"))
    assert by_offset(clickhouse) == ["accepted", "conflict"]
    assert clickhouse.rows("SELECT decision, open FROM conflicts") == [("count_both", False)]


def test_a_payment_that_comes_after_its_reversal_is_asked_about(clickhouse: ClickHouse) -> None:
    """Nobody knows which of the two the sender means: it is stored, and a case is open."""
    world = uploads(clickhouse)
    rows = [payment(1, TRANSACTION_TYPE="REVERSAL"), payment(1, TRANSACTION_TYPE=None)]
    world.turn(world.batch(rows, dataset_id="ds_up"))
    assert by_offset(clickhouse) == ["accepted", "conflict"]
    assert clickhouse.rows("SELECT open FROM conflicts") == [(True,)]


def test_a_reversal_counts_beside_what_it_reverses(clickhouse: ClickHouse) -> None:
    """The rule counts both versions; a change of status after that replaces what it changes."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1, STATUS="paid")]))
    world.turn(world.batch([payment(1, TRANSACTION_TYPE="REVERSAL", PAYMENT_AMOUNT="-5000")], 1))
    world.turn(world.batch([payment(1, STATUS="settled")], 2))
    found = clickhouse.rows("SELECT payment_amount, status FROM payments ORDER BY payment_amount")
    assert [(float(amount), status) for amount, status in found] == [(-5000.0, ""), (5000.0, "settled")]


def test_rulings_of_one_turn_follow_each_other_in_time(clickhouse: ClickHouse) -> None:
    """Three changes of status in one turn: the last one counts, for the views and for the next worker."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1, STATUS=f"s{number}") for number in range(12)]))
    decided = clickhouse.rows("SELECT uniqExact(decided_at), count() FROM decisions")
    assert decided == [(11, 11)]
    assert clickhouse.rows("SELECT status FROM payments") == [("s11",)]
    assert clickhouse.rows("SELECT open FROM conflicts") == [(False,)]
    world = World(clickhouse).restore({0: 12})
    world.turn(world.batch([payment(1, STATUS="end")], 12))
    assert clickhouse.rows("SELECT status FROM payments") == [("end",)]


def test_what_a_person_decides_during_a_turn_stays_in_force(clickhouse: ClickHouse) -> None:
    """The rule's decision is dated at the turn's begin, so a person's is later, and the case is open.

    Also when the clock of whoever sent it goes after the store's.
    """
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1, STATUS="paid")]))
    world.turn(world.batch([payment(1, STATUS="void")], 1))
    insert = world.store.insert

    def meanwhile(table: str, make: Any, lease: Any) -> None:
        if table == "decisions":
            hashes = "SELECT groupArray(content_hash) FROM payment_versions WHERE status IN ('paid', 'void')"
            clickhouse.client.command(
                "INSERT INTO decisions (decision_id, organization_id, record_type, identity, decision,"
                f" selected, known, decided_by, decided_at) SELECT 'dec_1', organization_id, 'payment',"
                f" identity, 'keep_first', [content_hash], ({hashes}), 'usr_1', now64(3) - INTERVAL 2 SECOND"
                " FROM payment_versions WHERE status = 'paid'"
            )
        insert(table, make, lease)

    world.store.insert = meanwhile  # type: ignore[method-assign]
    world.turn(world.batch([payment(1, STATUS="settled")], 2))
    assert clickhouse.rows("SELECT status FROM payments") == [("paid",)]
    assert clickhouse.rows("SELECT decided_by, open FROM conflicts") == [("usr_1", True)]


def test_rulings_are_dated_by_the_clock_of_the_store(clickhouse: ClickHouse) -> None:
    """A worker whose clock is an hour ahead decides nothing in the future, where it would outweigh people."""
    world = World(clickhouse).restore()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        world.turn(world.batch([payment(1, STATUS="paid"), payment(1, STATUS="void")]))
        world.turn(world.batch([payment(1, STATUS="settled")], 2))
    assert clickhouse.rows("SELECT countIf(decided_at <= stored_at), count() FROM decisions") == [(2, 2)]


def test_a_rule_that_died_is_made_up_for_whatever_the_partitions(clickhouse: ClickHouse) -> None:
    """The accepted version may lie in a partition of a higher number: positions tell no order."""
    world = World(clickhouse, partitions=4).restore()
    number = next(n for n in range(100) if home_partition(f"P{n}", 4) == 3)
    world.turn(world.batch([payment(number, STATUS="paid")], partition=3))
    world.turn(world.batch([payment(number, STATUS="void")], 7, partition=0))
    (forward,) = world.published.sent
    world.store.before = world.store.inserts + 3  # versions and keys are stored, the decision is not
    with pytest.raises(Died):
        world.turn(world.received(forward, 1))
    after = World(clickhouse, partitions=4).restore({3: 1})
    after.turn(after.received(forward, 1))
    assert clickhouse.rows("SELECT status FROM payments") == [("void",)]
    assert clickhouse.rows("SELECT decided_by, open FROM conflicts") == [("rule", False)]


def test_an_open_case_is_not_closed_by_the_rule(clickhouse: ClickHouse) -> None:
    """After a conflict that asks people, a change of status alone does not decide for them."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1, STATUS="paid"), payment(1, STATUS="paid", **CHANGED)]))
    world.turn(world.batch([payment(1, STATUS="void")], 2))
    assert by_offset(clickhouse) == ["accepted", "conflict", "conflict"]
    assert clickhouse.value("SELECT count() FROM decisions") == 0
    assert clickhouse.rows("SELECT status FROM payments") == [("paid",)]


MIXED = [
    payment(1), payment(2), payment(1), payment(2, **CHANGED), payment(3, STATUS="paid"),
    payment(3, STATUS="void"), payment(4, PAYMENT_AMOUNT="abc"), b"nonsense", payment(5),
]  # fmt: skip
EXPECTED = [
    "accepted", "accepted", "duplicate", "conflict", "accepted", "conflict", "quarantined", "quarantined",
    "accepted",
]  # fmt: skip
VIEWS = (
    "SELECT outcome, record_id, reasons, offset FROM ledger ORDER BY offset",
    "SELECT id, payment_amount, status, position FROM payments ORDER BY id, position",
    "SELECT count(), uniqExact(position) FROM quarantine",
    "SELECT decision, length(selected), length(known) FROM decisions FINAL",
)


def seen(clickhouse: ClickHouse) -> list[Any]:
    """What analysts see."""
    return [clickhouse.rows(sql) for sql in VIEWS]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("insert", range(1, 7))
def test_a_death_at_any_write_changes_nothing(clickhouse: ClickHouse, insert: int, moment: str) -> None:
    """The successor is given the same rows and settles them to the same, once, and goes on from there."""
    world = World(clickhouse).restore()
    setattr(world.store, moment, insert)
    with pytest.raises(Died):
        world.turn(world.batch(MIXED))
    after = World(clickhouse).restore()
    after.turn(after.batch(MIXED))
    after.turn(after.batch([payment(1), payment(2, **CHANGED), payment(6)], len(MIXED)))
    assert by_offset(clickhouse) == [*EXPECTED, "duplicate", "duplicate", "accepted"]
    assert clickhouse.value("SELECT count() FROM payments") == 5
    assert clickhouse.rows("SELECT status FROM payments WHERE id = 'P3'") == [("void",)]
    assert clickhouse.value("SELECT uniqExact(position) FROM quarantine") == 2
    assert clickhouse.value("SELECT uniqExact(decision_id) FROM decisions") == 1
    before = seen(clickhouse)
    again = World(clickhouse).restore()
    again.turn(again.batch(MIXED))
    assert seen(clickhouse) == before


def test_a_refused_row_whose_ledger_row_was_lost_keeps_its_reasons(clickhouse: ClickHouse) -> None:
    """Also when it would be good by now: the organisation was registered between the two writes."""
    world = World(clickhouse).restore()
    world.store.before = 2  # the quarantine row is stored, the ledger's is not
    with pytest.raises(Died):
        world.turn(world.batch([payment(1, METER_ID=None)]))
    after = World(clickhouse).restore()
    after.turn(after.batch([payment(1)]))
    assert clickhouse.rows("SELECT outcome, reasons FROM ledger") == [("quarantined", ["missing:METER_ID"])]


def test_a_row_stored_by_a_release_that_told_contents_otherwise_keeps_its_content(
    clickhouse: ClickHouse,
) -> None:
    """The ledger and the key name the version that is there; the same row sent again is a duplicate."""
    world = World(clickhouse).restore()
    world.store.before = 2  # the version is stored, its key is not
    with pytest.raises(Died):
        world.turn(world.batch([payment(1)]))
    columns = ", ".join(
        name
        for (name,) in clickhouse.rows(
            "SELECT name FROM system.columns WHERE database = currentDatabase()"
            " AND table = 'payment_versions' AND default_kind != 'MATERIALIZED'"
        )
    )
    other = columns.replace("content_hash", "content_hash + 1")
    clickhouse.client.command(
        f"INSERT INTO payment_versions ({columns}) SELECT {other} FROM payment_versions"
    )
    clickhouse.client.command(
        "ALTER TABLE payment_versions DELETE WHERE content_hash ="
        " (SELECT min(content_hash) FROM payment_versions) SETTINGS mutations_sync = 1"
    )
    after = World(clickhouse).restore()
    after.turn(after.batch([payment(1)]))
    after.turn(after.batch([payment(1), payment(1, **CHANGED)], 1))
    assert by_offset(clickhouse) == ["accepted", "duplicate", "conflict"]
    named = "(SELECT identity, content_hash FROM {} WHERE outcome = 'accepted')"
    for table in ("ledger_rows", "payment_keys"):
        unknown = f"SELECT count() FROM {named.format(table)} AS n WHERE n.content_hash NOT IN"
        assert clickhouse.value(f"{unknown} (SELECT content_hash FROM payment_versions)") == 0, table


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("insert", range(1, 7))
def test_a_late_insert_during_the_restore_changes_nothing(
    clickhouse: ClickHouse, insert: int, moment: str
) -> None:
    """A store that stood still does the former owner's inserts late: before the index is read, or after."""
    zombie, heir = World(clickhouse).restore(), World(clickhouse)
    zombie.store.after = insert
    load = heir._restorer._load

    def loaded(client: Any, homes: list[int]) -> int:
        found = load(client, homes)
        with pytest.raises(Died):
            zombie.turn(zombie.batch(MIXED))
        return found if moment == "after" else load(client, homes)

    heir._restorer._load = loaded
    heir.restore()
    heir.turn(heir.batch(MIXED))
    assert by_offset(clickhouse) == EXPECTED
    contents = (
        "SELECT identity, uniqExact(content_hash) AS n FROM payment_versions WHERE outcome = 'accepted'"
    )
    assert clickhouse.value(f"SELECT max(n) FROM ({contents} GROUP BY identity)") == 1
    assert clickhouse.value("SELECT uniqExact(decision_id) FROM decisions") == 1


def test_a_turn_of_these_rows_has_six_writes(clickhouse: ClickHouse) -> None:
    """So the deaths above are at every write there is."""
    world = World(clickhouse).restore()
    world.turn(world.batch(MIXED))
    assert world.store.inserts == 6
    assert by_offset(clickhouse) == EXPECTED


def test_a_refused_row_is_found_and_the_others_are_stored(clickhouse: ClickHouse) -> None:
    """Halving finds the rows that the store refuses; what they would have decided is decided anew."""
    world = World(clickhouse).restore()
    writer = world.store._writer
    insert = writer.insert

    def refusing(table: str, batch: Any) -> None:
        if table == "payment_versions" and {"P3", "P7"} & set(batch.column("id").to_pylist()):
            raise Refused("the store answered with code 407", 407)
        insert(table, batch)

    writer.insert = refusing  # type: ignore[method-assign]
    world.turn(world.batch([payment(number) for number in range(10)]))
    assert outcomes(clickhouse) == {"accepted": 8, "quarantined": 2}
    found = clickhouse.rows("SELECT record_id, reasons FROM quarantine ORDER BY record_id")
    assert found == [("P3", [Code.STORE_REFUSED.value]), ("P7", [Code.STORE_REFUSED.value])]
    assert clickhouse.value("SELECT count() FROM payments") == 8


class GivingUp(Always):
    """A lease whose partitions go elsewhere as soon as somebody waits."""

    giving_up = True


def test_a_topic_stops_when_the_store_refuses_most_organizations(clickhouse: ClickHouse) -> None:
    """A bad release drains nothing into quarantine, whoever finds its rows bad."""
    world = World(clickhouse, lease=GivingUp()).restore()
    owners = [ORG, "org_b", "org_c"]
    for owner in owners[1:]:
        register(world.registry, "organizations", {"id": owner, "name": owner})
    writer = world.store._writer
    insert = writer.insert

    def refusing(table: str, batch: Any) -> None:
        if table == "payment_versions":
            raise Refused("the store answered with code 407", 407)
        insert(table, batch)

    writer.insert = refusing  # type: ignore[method-assign]
    records = [
        record(at, orjson.dumps(payment(at)), [("organization_id", owners[at % 3].encode())])
        for at in range(3 * MIN_ORGANIZATION_ROWS)
    ]
    with pytest.raises(Abandoned):
        world.turn(batch_of(records, "payments", 0))
    assert clickhouse.value("SELECT count() FROM quarantine_rows") == 0
    assert outcomes(clickhouse) == {}


def test_a_turn_decided_anew_is_not_judged_by_its_own_rows(clickhouse: ClickHouse) -> None:
    """What the first attempt stored before the store refused another row is no earlier version."""
    world = World(clickhouse).restore()
    world.turn(world.batch([payment(1, STATUS="paid"), payment(2)]))
    writer = world.store._writer
    insert = writer.insert

    def refusing(table: str, batch: Any) -> None:
        if table == "payment_versions" and "P3" in batch.column("id").to_pylist():
            raise Refused("the store answered with code 407", 407)
        insert(table, batch)

    writer.insert = refusing  # type: ignore[method-assign]
    rows = [payment(1, STATUS="void"), payment(2, **CHANGED), payment(3), payment(2, **CHANGED)]
    world.turn(world.batch(rows, 2))
    assert by_offset(clickhouse)[2:] == ["conflict", "conflict", "quarantined", "duplicate"]
    assert clickhouse.rows("SELECT status FROM payments WHERE id = 'P1'") == [("void",)]
    assert clickhouse.value("SELECT count() FROM payment_keys WHERE outcome = 'conflict'") == 2


def test_a_batch_refused_as_a_whole_is_stored_in_parts(clickhouse: ClickHouse) -> None:
    """When every part is taken there is nobody to quarantine, and nothing to die of."""
    world = World(clickhouse).restore()
    writer = world.store._writer
    insert = writer.insert

    def refusing(table: str, batch: Any) -> None:
        if table == "payment_versions" and batch.num_rows > 3:
            raise Refused("the store answered with code 158", 158)
        insert(table, batch)

    writer.insert = refusing  # type: ignore[method-assign]
    world.turn(world.batch([payment(number) for number in range(10)]))
    assert outcomes(clickhouse) == {"accepted": 10}


def test_rows_of_other_homes_are_sent_on_under_their_origin(clickhouse: ClickHouse) -> None:
    """Judged where their identity lives, once, however often they are sent on; the origin is the key."""
    world = World(clickhouse, partitions=4).restore()
    elsewhere = next(n for n in range(100) if home_partition(f"P{n}", 4) == 3)
    here = next(n for n in range(100) if home_partition(f"P{n}", 4) == 1)
    world.turn(world.batch([payment(elsewhere), payment(here)], 10, partition=1))
    world.turn(world.batch([payment(elsewhere)], 12, partition=1))
    assert outcomes(clickhouse) == {"accepted": 1}
    first, second = world.published.sent
    assert (first.partition, second.partition) == (3, 3)
    world.turn(world.received(first, 0), world.received(first, 1))
    world.turn(world.received(first, 2), world.received(second, 3))
    found = clickhouse.rows("SELECT outcome, partition, offset FROM ledger ORDER BY offset")
    assert found == [("accepted", 1, 10), ("accepted", 1, 11), ("duplicate", 1, 12)]
    sums = clickhouse.rows("SELECT sum(rows), sum(forwarded) FROM ledger_ranges WHERE partition = 1")
    assert sums == [(1, 2)]


def test_partitions_added_between_a_forward_and_its_ledger_row(clickhouse: ClickHouse) -> None:
    """A row was sent on, its home died before the ledger, and then its home is where it was received."""
    homes = {number: home_of(payment_key(ORG, "", f"P{number}")) for number in range(500)}
    number = next(n for n, home in homes.items() if home % 4 == 0 and home % 5 == 1)
    first = World(clickhouse, partitions=4).restore()
    first.turn(first.batch([payment(number)], 7, partition=1))
    (copy,) = first.published.sent
    home = World(clickhouse, partitions=4).restore()
    home.store.before = 3
    with pytest.raises(Died):
        home.turn(home.received(copy, 0))
    # nothing is committed: the row comes again where it was received, and that is its home now
    after = World(clickhouse, partitions=5).restore({1: 7})
    after.turn(after.batch([payment(number)], 7, partition=1))
    assert outcomes(clickhouse) == {"accepted": 1}
    after.turn(after.received(copy, 1))
    assert outcomes(clickhouse) == {"accepted": 1}
    assert clickhouse.value("SELECT count() FROM payments") == 1


@pytest.mark.parametrize(("amount", "outcome"), [("5000", "duplicate"), ("700", "conflict")])
@pytest.mark.parametrize("write", [1, 2])
def test_partitions_added_after_a_death_between_version_and_key(
    clickhouse: ClickHouse, write: int, amount: str, outcome: str
) -> None:
    """A later row of the payment overtakes the redelivery in the new partition, and is not the first."""
    number = next(n for n in range(99) if home_partition(f"P{n}", 2) == 1)
    one = World(clickhouse, partitions=1).restore()
    one.store.after = write
    with pytest.raises(Died):
        one.turn(one.batch([payment(number, PAYMENT_AMOUNT="5000")]))
    assert clickhouse.value("SELECT count() FROM payment_keys") == write - 1
    two = World(clickhouse, partitions=2).restore()
    two.turn(two.batch([payment(number, PAYMENT_AMOUNT=amount)], partition=1))
    two.turn(two.batch([payment(number, PAYMENT_AMOUNT="5000")]))
    two.turn(two.received(two.published.sent[-1], 1))
    found = clickhouse.rows("SELECT partition, outcome FROM ledger ORDER BY partition")
    assert found == [(0, "accepted"), (1, outcome)]
    assert [float(str(row[0])) for row in clickhouse.rows("SELECT payment_amount FROM payments")] == [5000.0]
    assert clickhouse.value("SELECT count() FROM conflicts") == (outcome == "conflict")


def test_a_turn_that_comes_again_is_told_once(clickhouse: ClickHouse) -> None:
    """The brake counts rows when they are stored: three attempts at 150 bad rows are no 450."""
    world = World(clickhouse).restore()
    bad = [payment(number, PAYMENT_AMOUNT="1,234,56") for number in range(150)]
    for _ in range(3):
        world.store.before = world.store.inserts + 1
        with pytest.raises(Died):
            world.turn(world.batch(bad))
    world.turn(world.batch(bad))
    assert [given for given in world.published.sent if given.topic == "alerts"] == []
    world.turn(world.batch(bad[:50], 150))
    (alert,) = [orjson.loads(given.value) for given in world.published.sent if given.topic == "alerts"]
    assert (alert["rows"], alert["bad"], alert["run"]) == (200, 200, 200)
