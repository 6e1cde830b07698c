"""Which refused rows are replayed when what they waited for appears, and that no replay goes round."""

from sinks_helpers import Store

from schemas.identity import position
from sinks.waiting import curable_rows

TOPIC = "reads"


def refuse(store: Store, offset: int, kind: str, name: str, **more: object) -> int:
    """A refused row that waits for an object; its position."""
    at = position(1, 0, offset)
    organization = name if kind == "organizations" else "org_a"
    lineage = {"topic": TOPIC, "position": at, "organization_id": organization, "offset": offset}
    row = {**lineage, "missing_kind": kind, "missing_id": name, "sealed": "s", **more}
    store.put("quarantine_rows", row)
    return at


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
    replay = refuse(store, 2, "devices", "D1", replay_of=position(1, 0, 1))
    assert curable(store) == []
    store.device("dev_1", "D1", version=2)
    assert curable(store) == [replay]
