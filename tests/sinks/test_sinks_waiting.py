"""Which refused rows are replayed when what they waited for appears, and that no replay goes round."""

import pytest
from sinks_helpers import Store

from schemas.identity import position
from sinks.quarantine_actions import TABLE, Action, Standing, action_batch, records_of, standings
from sinks.waiting import START, curable_rows

TOPIC = "reads"


def refuse(store: Store, offset: int, kind: str, name: str, **more: object) -> int:
    """A refused row that waits for an object; its position."""
    at = position(1, 0, offset)
    organization = name if kind == "organizations" else "org_a"
    lineage = {"topic": TOPIC, "position": at, "organization_id": organization, "offset": offset}
    row = {**lineage, "missing_kind": kind, "missing_id": name, "sealed": "s", **more}
    store.put("quarantine_rows", row)
    return at


def begin(store: Store, offset: int) -> None:
    """The sweep begins to replay the row of an offset."""
    row = {"topic": TOPIC, "position": position(1, 0, offset), "organization_id": "org_a"}
    store.put("quarantine_actions", {**row, "action": "requeued", "claim_id": "c", "done_by": "sweep"})


def curable(store: Store) -> list[int]:
    """Positions of what would be replayed now."""
    return [row.position for row in curable_rows(store.client, 100)]


def test_rows_are_curable_once_their_object_is_known(store: Store) -> None:
    """Organisation, dataset and device of the same organisation; an archived device cures nothing."""
    refuse(store, 0, "", "")
    waiting = [
        refuse(store, 1, "organizations", "org_late"),
        refuse(store, 2, "datasets", "ds_late"),
        refuse(store, 3, "devices", "D1"),
    ]
    assert curable(store) == []
    store.dataset("ds_late", organization="org_b")
    store.device("dev_other", "D1", organization="org_b")
    store.device("dev_gone", "D1", archived=True)
    assert curable(store) == []
    store.organization("org_late")
    store.dataset("ds_late")
    store.device("dev_1", "D1")
    assert curable(store) == waiting


def test_a_replayed_row_is_replayed_no_more(store: Store) -> None:
    """A ledger row that names it in `replay_of` says that it was; another organisation's does not."""
    at = refuse(store, 1, "devices", "D1")
    store.device("dev_1", "D1")
    named = {"topic": TOPIC, "position": position(1, 0, 9), "replay_of": at, "outcome": "accepted"}
    store.put("ledger_rows", {**named, "organization_id": "org_b"})
    assert curable(store) == [at]
    store.put("ledger_rows", {**named, "organization_id": "org_a"})
    assert curable(store) == []


def test_a_line_that_has_its_outcome_is_not_replayed(store: Store) -> None:
    """Another record of the same line of the same file was accepted: a replay would be its duplicate."""
    line = {"dataset_id": "ds_1", "source_ref": "f", "line": 4}
    store.device("dev_1", "D1")
    at = refuse(store, 1, "devices", "D1", **line)
    other = {"topic": TOPIC, "organization_id": "org_a", "outcome": "accepted", **line}
    store.put("ledger_rows", {**other, "position": position(1, 0, 9), "line": 5})
    store.put("ledger_rows", {**other, "position": position(1, 0, 7), "record_id": "another"})
    assert curable(store) == [at]
    store.put("ledger_rows", {**other, "position": position(1, 0, 8)})
    assert curable(store) == []


def test_a_replay_that_was_refused_again_waits_for_a_change(store: Store) -> None:
    """Whatever the worker and the store disagree about, a row goes round once per change of its object."""
    store.device("dev_1", "D1")
    begin(store, 1)
    replay = refuse(store, 2, "devices", "D1", replay_of=position(1, 0, 1))
    assert curable(store) == []
    store.device("dev_1", "D1")  # a registry message that was delivered again is no change
    assert curable(store) == []
    store.device("dev_1", "D1", version=2)
    assert curable(store) == [replay]


def test_an_object_that_appears_while_its_row_is_judged_is_not_missed(store: Store) -> None:
    """The refusal may be stored long after the row was judged: only when the replay was begun counts."""
    begin(store, 1)
    store.device("dev_1", "D1")
    replay = refuse(store, 2, "devices", "D1", replay_of=position(1, 0, 1))
    assert curable(store) == [replay]


def test_a_row_refused_twice_over_is_one_row(store: Store) -> None:
    """A crash before the ledger may leave two refusals of a row, each with another missing object."""
    store.organization("org_late")
    store.dataset("ds_late", organization="org_late")
    at = refuse(store, 1, "organizations", "org_late")
    refuse(store, 1, "datasets", "ds_late", organization_id="org_late")
    assert curable(store) == [at]


def test_pages_go_on_where_the_last_one_ended(store: Store) -> None:
    """In order of place, each row once."""
    waiting = [refuse(store, number, "devices", "D1") for number in range(5)]
    store.device("dev_1", "D1")
    found: list[int] = []
    after = START
    while page := curable_rows(store.client, 2, after):
        found += [row.position for row in page]
        after = page[-1].topic, page[-1].position
    assert found == waiting


def act(store: Store, at: int, action: Action, claim_id: str = "") -> None:
    """Somebody does something about the row."""
    batch = action_batch([("org_a", (TOPIC, at))], action, "usr_1", claim_id=claim_id)
    store.writer.insert(TABLE, batch)


def test_a_row_that_somebody_acts_on_is_left_to_him(store: Store) -> None:
    """Claimed or discarded by a person: not replayed; withdrawn again: replayed; the sweep hinders nobody."""
    at = refuse(store, 1, "devices", "D1")
    other = refuse(store, 2, "devices", "D1")
    store.device("dev_1", "D1")
    for action, expected in (
        (Action.REQUEUED, [at, other]),
        (Action.CLAIMED, [other]),
        (Action.REQUEUED, [other]),
        (Action.WITHDRAWN, [at, other]),
        (Action.DISCARDED, [other]),
    ):
        act(store, at, action)
        assert curable(store) == expected, action


def test_a_standing_tells_what_speaks_against_acting(store: Store) -> None:
    """Replayed within its organisation, a person's latest action, how long ago the sweep meant to act."""
    at, untouched = refuse(store, 1, "devices", "D1"), refuse(store, 2, "devices", "D1")
    rows = [("org_a", (TOPIC, at)), ("org_a", (TOPIC, untouched)), ("org_a", ("payments", at))]
    act(store, at, Action.REQUEUED)
    act(store, at, Action.CLAIMED)
    named = {"topic": TOPIC, "position": position(1, 0, 9), "replay_of": untouched, "outcome": "accepted"}
    store.put("ledger_rows", {**named, "organization_id": "org_b"})
    found = standings(store.client, rows)
    assert found[TOPIC, untouched] == found["payments", at] == Standing()
    assert (found[TOPIC, at].latest, found[TOPIC, at].replayed) == (Action.CLAIMED, False)
    age = found[TOPIC, at].requeued_age_s
    assert age is not None
    assert 0 <= age < 3600
    store.put("ledger_rows", {**named, "organization_id": "org_a", "position": position(1, 0, 10)})
    assert standings(store.client, rows)[TOPIC, untouched] == Standing(replayed=True)


def states(store: Store) -> list[str]:
    """States of all records, by position."""
    return [str(row["state"]) for row in store.rows("SELECT state FROM quarantine ORDER BY position")]


def test_a_late_withdrawal_undoes_no_other_attempt(store: Store) -> None:
    """What a settler stores about a dead claim says nothing of a discard or a claim made since."""
    at = refuse(store, 1, "devices", "D1")
    store.device("dev_1", "D1")
    place = (TOPIC, at)
    for action, claim_id, state in (
        (Action.CLAIMED, "dead", "replaying"),
        (Action.WITHDRAWN, "dead", "open"),
        (Action.CLAIMED, "clm_2", "replaying"),
        (Action.WITHDRAWN, "dead", "replaying"),
        (Action.DISCARDED, "clm_2", "discarded"),
        (Action.WITHDRAWN, "dead", "discarded"),
        (Action.CLAIMED, "clm_3", "replaying"),
        (Action.WITHDRAWN, "clm_3", "open"),
    ):
        act(store, at, action, claim_id)
        assert states(store) == [state], action
        assert curable(store) == ([at] if state == "open" else [])
        latest = {"replaying": Action.CLAIMED, "discarded": Action.DISCARDED, "open": Action.WITHDRAWN}[state]
        assert standings(store.client, [("org_a", place)])[place].latest is latest


@pytest.mark.parametrize(
    "same", [{"line": 7, "source_ref": "f@1"}, {"replay_of": position(1, 0, 1)}], ids=["line", "replays"]
)
def test_records_of_one_received_row_are_acted_on_together(store: Store, same: dict[str, object]) -> None:
    """A line that came twice, a replay that was sent twice: the first stands for both, in every question."""
    store.device("dev_1", "D1")
    begin(store, 1)
    first, again = (refuse(store, offset, "devices", "D1", **same) for offset in (2, 3))
    store.device("dev_1", "D1", version=2)
    owned = ("org_a", (TOPIC, again))
    assert (states(store), curable(store)) == (["open", "redelivered"], [first])
    assert records_of(store.client, [owned[1]]) == {owned[1]: [(TOPIC, first), (TOPIC, again)]}
    act(store, first, Action.DISCARDED)
    assert (states(store), curable(store)) == (["discarded", "redelivered"], [])
    assert standings(store.client, [owned])[owned[1]].latest is Action.DISCARDED
    act(store, again, Action.WITHDRAWN)
    act(store, first, Action.REQUEUED)
    assert standings(store.client, [owned])[owned[1]].requeued_at is not None
    named = {"topic": TOPIC, "position": position(1, 0, 9), "organization_id": "org_a", "replay_of": again}
    store.put("ledger_rows", {**named, "outcome": "quarantined"})
    assert (states(store), curable(store)) == (["replayed", "redelivered"], [])
    assert standings(store.client, [("org_a", (TOPIC, first))])[TOPIC, first].replayed


def test_rows_that_cannot_be_told_to_be_one_are_several(store: Store) -> None:
    """Without a line or file, of another organisation, dataset or file, and a replay beside its original."""
    store.device("dev_1", "D1")
    lines: list[dict[str, object]] = [
        {"line": 7, "source_ref": "f@1"}, {"line": 7, "source_ref": "f@2"}, {"line": 8, "source_ref": "f@1"},
        {"line": 7, "source_ref": "f@1", "dataset_id": "ds_b"}, {"line": 7}, {"line": 7},
        {"source_ref": "f@1"}, {"source_ref": "f@1"},
        {"line": 7, "source_ref": "f@1", "replay_of": position(1, 0, 1)},
    ]  # fmt: skip
    for offset, line in enumerate(lines, 1):
        refuse(store, offset, "devices", "D1", **line)
    refuse(store, 20, "organizations", "org_b", line=7, source_ref="f@1")
    assert states(store) == ["open"] * 10


def test_the_state_of_a_row_follows_the_latest_action(store: Store) -> None:
    """Claimed, withdrawn, discarded; a replay that was judged ends all of it."""
    at = refuse(store, 1, "", "")

    def state() -> object:
        return store.rows("SELECT state FROM quarantine")[0]["state"]

    for action, expected in (
        (Action.REQUEUED, "open"),
        (Action.CLAIMED, "replaying"),
        (Action.WITHDRAWN, "open"),
        (Action.DISCARDED, "discarded"),
    ):
        act(store, at, action)
        assert state() == expected
    named = {"topic": TOPIC, "position": position(1, 0, 9), "replay_of": at, "outcome": "duplicate"}
    store.put("ledger_rows", {**named, "organization_id": "org_a"})
    assert state() == "replayed"
