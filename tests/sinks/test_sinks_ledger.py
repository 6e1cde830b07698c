"""The ledger and the quarantine: first verdicts stay, receipts add up, nothing is mixed up."""

from typing import Any

import pytest
from sinks_helpers import Store, ledger_row

from sinks import queries
from sinks.receipts import Key, tallies


def reasons(store: Store) -> dict[str, int]:
    """Quarantined rows of the file by reason."""
    return dict(tallies(store.client, [Key("org_a", "ds_a", "file")])[Key("org_a", "ds_a", "file")].reasons)


def test_the_first_verdict_stays(store: Store) -> None:
    """A replay by newer code cannot rewrite history, before a merge or after one."""
    row = ledger_row(outcome="accepted")
    store.put("ledger_rows", row)
    store.put("ledger_rows", {**row, "outcome": "duplicate"})
    assert [r["outcome"] for r in store.rows("SELECT outcome FROM ledger")] == ["accepted"]
    store.client.command("OPTIMIZE TABLE ledger_rows FINAL")
    assert [r["outcome"] for r in store.rows("SELECT outcome FROM ledger_rows")] == ["accepted"]


def test_a_receipt_adds_up_and_counts_lines_once(store: Store) -> None:
    """Redelivered lines are no received rows; rows without a line are told apart by position."""
    outcomes = ["accepted", "accepted", "duplicate", "conflict", "quarantined"]
    store.put("ledger_rows", *[ledger_row(line=i, outcome=o) for i, o in enumerate(outcomes, 2)])
    store.put("ledger_rows", *[ledger_row(line=i, outcome="duplicate") for i in (2, 3, 5)])
    store.put("ledger_rows", *[ledger_row(line=0) for _ in range(2)])
    store.put("ledger_rows", ledger_row(line=2, source_ref="other"), ledger_row(line=2, dataset_id="ds_b"))
    assert queries.outcome_counts(store.client, "org_a", "ds_a", ["file"]) == {
        "received": 7,
        "accepted": 4,
        "duplicate": 1,
        "conflict": 1,
        "quarantined": 1,
    }
    assert queries.outcome_counts(store.client, "org_a", "ds_a", ["file", "other"])["received"] == 8
    assert queries.outcome_counts(store.client, "org_a", "ds_a", [])["received"] == 0


def test_a_receipt_shows_the_outcome_of_a_replay(store: Store) -> None:
    """The first outcome stays in history, the receipt shows the current one."""
    bad = ledger_row(line=2, outcome="quarantined", reasons=["missing:ID"])
    store.put(
        "ledger_rows", bad, ledger_row(line=3, outcome="quarantined", reasons=["bad_phone", "missing:ID"])
    )
    assert reasons(store) == {"missing:ID": 2, "bad_phone": 1}
    store.put("ledger_rows", ledger_row(line=2, outcome="accepted", replay_of=bad["position"]))
    counts = queries.outcome_counts(store.client, "org_a", "ds_a", ["file"])
    assert (counts["received"], counts["accepted"], counts["quarantined"]) == (2, 1, 1)
    assert reasons(store) == {"missing:ID": 1, "bad_phone": 1}


def test_a_receipt_follows_a_chain_of_replays(store: Store) -> None:
    """The last replay speaks, wherever its position lies; of one that was sent twice the first one stored."""
    first = ledger_row(line=2, outcome="quarantined", reasons=["bad_decimal"], position=900)
    again = ledger_row(
        line=2, outcome="quarantined", reasons=["missing:ID"], position=800, replay_of=first["position"]
    )
    store.put("ledger_rows", first, again)
    assert reasons(store) == {"missing:ID": 1}
    good = ledger_row(line=2, outcome="accepted", position=100, replay_of=again["position"])
    store.put("ledger_rows", good)
    store.put("ledger_rows", {**good, "outcome": "duplicate", "position": 700})
    counts = queries.outcome_counts(store.client, "org_a", "ds_a", ["file"])
    assert (counts["received"], counts["accepted"]) == (1, 1)


def test_a_replay_of_a_row_without_a_line_is_no_row_of_its_own(store: Store) -> None:
    """Rows of a request without line numbers: each replay stands for what it replays."""
    bad = [ledger_row(line=0, outcome="quarantined", position=900 + number) for number in range(2)]
    again = ledger_row(line=0, outcome="quarantined", position=800, replay_of=900)
    store.put("ledger_rows", *bad, again, ledger_row(line=0, outcome="accepted", position=100, replay_of=800))
    foreign = ledger_row(line=0, outcome="accepted", replay_of=901, organization_id="org_b")
    store.put("ledger_rows", foreign)
    assert queries.outcome_counts(store.client, "org_a", "ds_a", ["file"]) == {
        "received": 2,
        "accepted": 1,
        "duplicate": 0,
        "conflict": 0,
        "quarantined": 1,
    }


@pytest.mark.parametrize(
    ("filters", "lines"),
    [
        ({"record_id": "A"}, [1, 3]),
        ({"record_id": "A", "organization_id": "org_a"}, [1]),
        ({"organization_ids": ["org_a", "org_b"], "outcome": None}, [1, 2, 3]),
        ({"organization_ids": []}, []),
        ({"source_ref": "f", "line": 2}, [2]),
        ({"topic": "payments", "partition": 3, "offset": 7}, [2]),
        ({"record_id": "' OR 1 = 1 --"}, []),
    ],
)
def test_anyone_can_ask_about_any_row(store: Store, filters: dict[str, Any], lines: list[int]) -> None:
    """By id, by file and line, by place in the topic; the organisation filter hides the others."""
    store.put(
        "ledger_rows",
        ledger_row(record_id="A", source_ref="f", line=1),
        ledger_row(record_id="B", source_ref="f", line=2, partition=3, offset=7),
        ledger_row(record_id="A", source_ref="g", line=3, organization_id="org_b"),
    )
    assert [row["line"] for row in queries.ledger(store.client, filters)] == lines


def test_the_ledger_is_read_in_pages(store: Store) -> None:
    """The last row of a page says where the next begins."""
    store.put("ledger_rows", *[ledger_row(line=i) for i in range(1, 6)])
    page = queries.ledger(store.client, {}, limit=2)
    rest = queries.ledger(store.client, {}, after=(page[-1]["topic"], page[-1]["position"]))
    assert [row["line"] for row in page + rest] == [1, 2, 3, 4, 5]


def test_an_unknown_filter_is_an_error(store: Store) -> None:
    """A misspelt organisation filter must not show everything."""
    with pytest.raises(ValueError, match="organisation"):
        queries.ledger(store.client, {"organisation": "org_a"})


def refused(**fields: Any) -> dict[str, Any]:
    """A quarantined row: its ledger row without what the quarantine does not have."""
    row = ledger_row(reasons=["missing:METER_ID"], sealed="v1.x", **fields)
    del row["outcome"]
    return row


def states(store: Store) -> list[str]:
    """States of quarantined rows by position."""
    return [row["state"] for row in store.rows("SELECT state FROM quarantine ORDER BY position")]


def test_a_quarantined_row_is_open_until_it_is_replayed(store: Store) -> None:
    """A replay that is refused again is an open row of its own."""
    row = refused(identity=0)
    store.put("quarantine_rows", row)
    store.put("quarantine_rows", row)
    assert states(store) == ["open"]
    again = refused(identity=0, replay_of=row["position"])
    store.put("quarantine_rows", again)
    store.put(
        "ledger_rows",
        ledger_row(position=again["position"], replay_of=row["position"], outcome="quarantined"),
    )
    assert states(store) == ["replayed", "open"]


def test_a_row_accepted_from_elsewhere_supersedes_it(store: Store) -> None:
    """Later and of the same identity; without an identity, of the same ID and organisation."""
    before = ledger_row(identity=5, record_id="E")
    by_identity = refused(identity=5, record_id="E")
    by_id = refused(identity=0, record_id="F")
    other_namespace = refused(identity=6, record_id="G")
    other_organization = refused(identity=0, record_id="H")
    unknown_id = refused(identity=0, record_id="")
    store.put("quarantine_rows", by_identity, by_id, other_namespace, other_organization, unknown_id)
    store.put("ledger_rows", before)  # in one turn the ledger is written last, whatever came first
    assert states(store) == ["open"] * 5
    store.put(
        "ledger_rows",
        ledger_row(identity=5, record_id="E"),
        ledger_row(identity=8, record_id="F"),
        ledger_row(identity=7, record_id="G"),
        ledger_row(identity=9, record_id="H", organization_id="org_b"),
        ledger_row(identity=10, record_id=""),
    )
    assert states(store) == ["superseded", "superseded", "open", "open", "open"]


def test_a_row_is_superseded_through_any_channel_of_its_namespace(store: Store) -> None:
    """An ID is unique in its namespace; a dataset without one, and no dataset at all, share the empty one."""
    store.dataset("ds_s3")
    store.dataset("ds_apart", id_namespace="old")
    store.dataset("ds_apart_too", id_namespace="old")
    store.put(
        "quarantine_rows",
        refused(identity=0, record_id="A", dataset_id="ds_s3"),
        refused(identity=0, record_id="B", dataset_id="ds_apart"),
        refused(identity=0, record_id="C", dataset_id="ds_apart"),
        refused(identity=0, record_id="D", dataset_id=""),
    )
    store.put(
        "ledger_rows",
        ledger_row(record_id="A", dataset_id="", source="api"),
        ledger_row(record_id="B", dataset_id="ds_s3"),
        ledger_row(record_id="C", dataset_id="ds_apart_too"),
        ledger_row(record_id="D", dataset_id="ds_s3"),
    )
    assert states(store) == ["superseded", "open", "superseded", "superseded"]


def test_a_refused_record_of_a_line_that_counts_is_a_redelivery(store: Store) -> None:
    """Whichever of the two records was received first."""
    line = {"source_ref": "f", "line": 7, "record_id": "A"}
    store.put("quarantine_rows", refused(identity=0, **line))
    store.put("ledger_rows", ledger_row(**line))
    store.put("quarantine_rows", refused(identity=0, **line))
    assert states(store) == ["redelivered", "redelivered"]
    store.put("quarantine_rows", refused(identity=0, **{**line, "record_id": "B"}))
    assert states(store) == ["redelivered", "redelivered", "open"], "a sheet was changed and read again"
