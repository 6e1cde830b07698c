"""What the ledger tells of receipts: each line once, replays for what they replay, places, requests."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sinks_helpers import NOON, Store, ledger_row

from schemas.identity import position
from sinks.receipts import Detours, Key, Place, Tally, detours, requests, tallies
from sinks.refused_lines import refused_lines

FILE = Key("org_a", "ds_a", "file")
ORDER = ("accepted", "duplicate", "conflict", "quarantined")


def row(
    line: int, outcome: str = "accepted", partition: int = 0, offset: int = 0, **more: Any
) -> dict[str, Any]:
    """A ledger row of the file where it was received, unless it has an origin elsewhere."""
    offset = offset or line
    return ledger_row(
        **{
            "line": line, "outcome": outcome, "partition": partition, "offset": offset,
            "position": position(0, partition, offset), **more,
        }
    )  # fmt: skip


def put_at(store: Store, table: str, moment: datetime, row: dict[str, Any]) -> None:
    """Insert a row as if it had been stored at this moment."""
    given = {**row, "stored_at": moment}
    store.client.insert(table, [list(given.values())], list(given))


def counts(tally: Tally) -> list[int]:
    """Rows by outcome, in the order of the outcomes."""
    return [tally.current[outcome] for outcome in ORDER]


def test_a_redelivered_line_is_one_row(store: Store) -> None:
    """After a crash in the middle lines come again, in any partition: a line counts when one record does."""
    store.put("ledger_rows", row(2), row(3, "quarantined", reasons=["missing:ID"]))
    store.put("ledger_rows", row(2, "duplicate", offset=90), row(3, "quarantined", offset=91))
    store.put("ledger_rows", row(4, "conflict", offset=92), row(3, "accepted", partition=2, offset=7))
    tally = tallies(store.client, [FILE])[FILE]
    assert (counts(tally), tally.judged) == ([2, 0, 1, 0], 3)
    assert tally.first == {"accepted": 1, "duplicate": 0, "conflict": 1, "quarantined": 1}
    assert tally.reasons == {}
    assert refused_lines(store.client, *FILE, 0, 10) == []
    assert tally.places == [Place("payments", 0, 2, 92), Place("payments", 2, 7, 7)]


@pytest.mark.parametrize("line", [0, 2])
def test_of_a_replay_that_was_sent_twice_one_goes_on(store: Store, line: int) -> None:
    """When one of two replays of a row is replayed itself, the other one is no further row, nor its voice."""
    first = row(line, "quarantined", offset=100)
    replays = [
        row(line, "quarantined", offset=offset, replay_of=first["position"], reasons=["bad_phone"])
        for offset in (200, 201)
    ]
    store.put("ledger_rows", first, *replays)
    assert counts(tallies(store.client, [FILE])[FILE]) == [0, 0, 0, 1]
    store.put("ledger_rows", row(line, offset=300, replay_of=replays[0]["position"]))
    tally = tallies(store.client, [FILE])[FILE]
    assert (counts(tally), tally.first["quarantined"], tally.reasons) == ([1, 0, 0, 0], 1, {})
    assert refused_lines(store.client, *FILE, 0, 10) == []


def test_a_replay_that_is_a_duplicate_of_its_own_line_takes_nothing_away(store: Store) -> None:
    """The line came twice, was refused once and accepted once; the refused record was replayed after that."""
    first = row(2, "quarantined", offset=10)
    replay = row(2, "duplicate", offset=30, replay_of=first["position"])
    store.put("ledger_rows", first, row(2, offset=20), replay)
    assert counts(tallies(store.client, [FILE])[FILE]) == [1, 0, 0, 0]
    assert refused_lines(store.client, *FILE, 0, 10) == []


def test_the_same_rows_stored_twice_count_once(store: Store) -> None:
    """A worker that died between the ledger and the commit stores again; nothing is counted twice."""
    again = [row(line) for line in (2, 3, 4)]
    for _ in range(3):
        store.put("ledger_rows", *again)
    assert counts(tallies(store.client, [FILE])[FILE]) == [3, 0, 0, 0]


def test_a_replay_speaks_for_its_row_and_the_first_outcome_is_told_besides(store: Store) -> None:
    """Under another ID in another partition, refused again and sent again; a redelivery is not asked."""
    bad = row(2, "quarantined", reasons=["bad_decimal:PAYMENT_AMOUNT", "missing:ID"])
    store.put("ledger_rows", bad, row(2, "quarantined", offset=50, reasons=["missing:ID"]), row(3))
    assert tallies(store.client, [FILE])[FILE].reasons == {"bad_decimal:PAYMENT_AMOUNT": 1, "missing:ID": 1}
    again = row(2, "quarantined", 3, 8, replay_of=bad["position"], reasons=["missing:ID"])
    store.put("ledger_rows", again)
    tally = tallies(store.client, [FILE])[FILE]
    assert (counts(tally), tally.reasons) == ([1, 0, 0, 1], {"missing:ID": 1})
    store.put(
        "ledger_rows", row(2, "accepted", 1, 1, replay_of=again["position"], record_id="P1b", identity=9)
    )
    tally = tallies(store.client, [FILE])[FILE]
    assert (counts(tally), tally.reasons) == ([2, 0, 0, 0], {})
    assert [tally.first[outcome] for outcome in ORDER] == [1, 0, 0, 1]
    assert tally.places == [Place("payments", 0, 2, 50)], "a replay was not received with the file"


def test_a_replay_does_not_move_the_moment_when_the_file_was_judged(store: Store) -> None:
    """A correction days later is no part of how long the file took."""
    bad = row(2, "quarantined")
    put_at(store, "ledger_rows", NOON, bad)
    put_at(store, "ledger_rows", NOON + timedelta(days=3), row(2, offset=9, replay_of=bad["position"]))
    assert tallies(store.client, [FILE])[FILE].stored_at == NOON


def test_rows_without_a_line_are_told_apart_by_position(store: Store) -> None:
    """Each chain of replays stands for the row that it began with."""
    bad = [row(0, "quarantined", offset=offset) for offset in (5, 6)]
    again = row(0, "quarantined", offset=7, replay_of=bad[0]["position"])
    store.put("ledger_rows", *bad, again, row(0, "accepted", 2, 1, replay_of=again["position"]))
    tally = tallies(store.client, [FILE])[FILE]
    assert counts(tally) == [1, 0, 0, 1]
    assert sum(tally.first.values()) == 2


def test_a_forwarded_row_counts_where_it_was_received(store: Store) -> None:
    """Its record lies in its home partition, its position is that of the origin."""
    store.put("ledger_rows", row(2), {**row(3), "partition": 3, "offset": 777})
    tally = tallies(store.client, [FILE])[FILE]
    assert counts(tally) == [2, 0, 0, 0]
    assert tally.places == [Place("payments", 0, 2, 3)]


def test_a_page_of_receipts_is_one_question(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its own rows: the same reference in another dataset or organisation is another receipt."""
    keys = [Key("org_a", "ds_a", f"file-{number}") for number in range(50)]
    other = [Key("org_b", "ds_a", "file-1"), Key("org_a", "ds_b", "file-1"), Key("org_a", "", "file-2")]
    for number, key in enumerate([*keys, *other]):
        store.put(
            "ledger_rows",
            *[row(line, offset=number * 100 + line, **key._asdict()) for line in range(2, 3 + number % 5)],
        )
    asked: list[str] = []
    ask = store.client.query
    monkeypatch.setattr(store.client, "query", lambda sql, **more: asked.append(sql) or ask(sql, **more))
    found = tallies(store.client, keys)
    assert len(asked) == 1
    assert {key: tally.judged for key, tally in found.items()} == {
        key: 1 + number % 5 for number, key in enumerate(keys)
    }
    assert tallies(store.client, []) == {}
    assert list(tallies(store.client, [other[0], Key("org_b", "ds_b", "file-1")])) == [other[0]]


def test_references_of_any_length_and_any_letters(store: Store) -> None:
    """A page of the longest keys that S3 has is asked for in pieces; quotes are no SQL."""
    keys = [Key("org_a", "ds_a", f"s3://b/{'é' * 1000}{number}@'\\\n%") for number in range(150)]
    store.put("ledger_rows", *[row(number + 2, **key._asdict()) for number, key in enumerate(keys)])
    assert {key: tally.judged for key, tally in tallies(store.client, keys).items()} == dict.fromkeys(keys, 1)


def test_requests_of_devices_are_listed_newest_first(store: Store) -> None:
    """By range of their references; of one organisation; replays and what outsiders wrote are none."""

    def sent(ref: str, **more: Any) -> dict[str, Any]:
        given = {"topic": "reads", "source": "device", "dataset_id": "", "source_ref": ref}
        return ledger_row(**{**given, **more})

    refs = [f"rcp_{number:026}000m" for number in range(5)]
    store.put("ledger_rows", *[sent(ref, line=line) for ref in refs for line in (1, 2)])
    store.put(
        "ledger_rows",
        sent("rcp_" + "9" * 30, replay_of=4),
        sent("rcp_ not one of ours"),
        sent("rcp_" + "8" * 30, source="topic"),
        sent("rcp_" + "7" * 30, topic="payments"),
        sent(refs[1], organization_id="org_b"),
        sent("rcp_" + "6" * 30, organization_id="org_b"),
    )
    form = "rcp_[0-9a-z]{30}"
    every = requests(store.client, "reads", form, "rcp_", "rcp_z", None, 100)
    assert every == [("rcp_" + "6" * 30, "org_b"), *[(ref, "org_a") for ref in reversed(refs)]]
    some = requests(store.client, "reads", form, refs[1], refs[4], "org_a", 2)
    assert [ref for ref, _ in some] == [refs[3], refs[2]]
    assert [ref for ref, _ in requests(store.client, "reads", form, refs[0], refs[2], "org_b", 9)] == []


def test_losses_and_forwards_since_a_moment(store: Store) -> None:
    """A range that was lost earlier, or of another topic, tells nothing about a receipt."""

    def batch(hours: int, topic: str, first: int, **more: Any) -> None:
        given = {"topic": topic, "first_offset": first, "next_offset": first + 10, **more}
        put_at(store, "ledger_ranges", NOON + timedelta(hours=hours), given)

    batch(-1, "payments", 0, lost=3)
    batch(0, "reads", 0, lost=3)
    batch(0, "payments", 10)
    assert detours(store.client, "payments", NOON) == Detours(lost=False, forwarded=False)
    assert detours(store.client, "nothing", NOON) == Detours(lost=False, forwarded=False)
    batch(1, "payments", 20, forwarded=1)
    assert detours(store.client, "payments", NOON) == Detours(lost=False, forwarded=True)
    assert detours(store.client, "payments", NOON - timedelta(hours=1)) == Detours(lost=True, forwarded=True)
