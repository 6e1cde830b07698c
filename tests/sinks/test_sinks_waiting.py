"""Which refused rows are replayed when what they waited for appears, and that no replay goes round."""

from sinks_helpers import Store

from schemas.identity import position
from sinks.quarantine_actions import TABLE, Action, Standing, action_batch, standings
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


def act(store: Store, at: int, action: Action) -> None:
    """Somebody does something about the row."""
    batch = action_batch([("org_a", (TOPIC, at))], action, "usr_1")
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
