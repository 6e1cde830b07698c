"""What the verifier asks about identities, for reads as for payments: slices, decisions, and recent rows."""

from collections.abc import Callable
from typing import Any

import pytest
from sinks_helpers import NOON, Store, payment, read

from sinks import verify_identities
from sinks.verify import Slice
from sinks.verify_rows import Found

Question = Callable[..., Found | None]
TABLES = pytest.mark.parametrize("table", ["payment_versions", "read_versions"])


def version(table: str, at: int, **fields: Any) -> dict[str, Any]:
    """An accepted version of identity 1 in the topic t."""
    given = {"topic": "t", "position": at, "offset": at, "content_hash": at, "identity": 1, **fields}
    return payment(**given) if table == "payment_versions" else read(NOON, 5, **given)


def asked(store: Store, question: Question, table: str, first: int = 0, end: int = 100) -> list[Found | None]:
    """The answers for a slice, at once and thoroughly."""
    where = Slice("t", 0, 0, first, end)
    return [question(store.client, where, table, thorough=thorough) for thorough in (False, True)]


def judged(store: Store, at: int, outcome: str, age_s: int = 10) -> None:
    """A ledger row of identity 1, stored some seconds ago."""
    store.client.command(
        "INSERT INTO ledger_rows (topic, position, offset, identity, content_hash, outcome, stored_at)"
        f" VALUES ('t', {at}, {at}, 1, {at}, '{outcome}', now64(3) - {age_s})"
    )


@TABLES
def test_a_duplicate_needs_a_version_somewhere(store: Store, table: str) -> None:
    """Anywhere, at any time: not in the slice."""
    judged(store, 7, "duplicate")
    assert asked(store, verify_identities.duplicates_of_nothing, table) == [Found(1, 7, 7)] * 2
    store.put(table, version(table, 5_000))
    assert asked(store, verify_identities.duplicates_of_nothing, table) == [None] * 2


@TABLES
def test_a_duplicate_has_a_content_that_was_stored(store: Store, table: str) -> None:
    """As a version; of a payment as another spelling of one too. A duplicate of nothing is told elsewhere."""
    question = verify_identities.duplicates_of_others
    judged(store, 7, "duplicate")
    assert asked(store, question, table) == [None] * 2
    store.put(table, version(table, 5_000))
    assert asked(store, question, table) == [Found(1, 7, 7)] * 2
    key = {"home": 0, "identity": 1, "content_hash": 7, "position": 7, "outcome": "alias"}
    store.put("payment_keys", key)
    assert asked(store, question, table) == [None if table == "payment_versions" else Found(1, 7, 7)] * 2
    store.put(table, version(table, 5_001, content_hash=7, outcome="conflict"))
    assert asked(store, question, table) == [None] * 2


def test_replays_of_one_row_are_one_record(store: Store) -> None:
    """In any slice; the same record sent twice, and rows of two organisations, are none."""

    def replay(at: int, identity: int, organization: str = "org_a") -> None:
        store.client.command(
            "INSERT INTO ledger_rows (topic, position, offset, organization_id, identity, outcome, replay_of)"
            f" VALUES ('t', {at}, {at}, '{organization}', {identity}, 'accepted', 2)"
        )

    def twice(first: int, end: int) -> Found | None:
        return verify_identities.replayed_twice(store.client, Slice("t", 0, 0, first, end))

    replay(10, 1)
    replay(11, 1)
    replay(12, 3, "org_b")
    assert twice(0, 100) is None
    replay(500, 2)
    assert twice(0, 100) == Found(2, 10, 11)
    assert twice(500, 600) == Found(1, 500, 500)


@TABLES
def test_two_accepted_contents_are_named_until_they_are_decided(store: Store, table: str) -> None:
    """Each in its own slice; a conflict, or the same version stored twice, is none."""
    question = verify_identities.accepted_twice
    judged(store, 3, "accepted")
    store.put(table, version(table, 3), version(table, 4, outcome="conflict"))
    store.put(table, version(table, 3))
    assert asked(store, question, table) == [None] * 2
    store.put(table, version(table, 200))
    assert asked(store, question, table) == [Found(1, 3, 3)] * 2
    assert asked(store, question, table, 200, 300)[1] == Found(1, 200, 200)
    kind = "payment" if table == "payment_versions" else "read"
    store.decide(version(table, 3), "keep_first", record_type=kind, known=[3])
    assert asked(store, question, table) == [Found(1, 3, 3)] * 2
    store.decide(version(table, 3), "keep_first", record_type=kind, known=[3, 4, 200])
    assert asked(store, question, table) == [None] * 2


@TABLES
def test_a_version_has_the_outcome_of_its_ledger_row(store: Store, table: str) -> None:
    """Compared at its position; the one stored first is the version's."""
    judged(store, 3, "accepted")
    judged(store, 4, "conflict")
    store.put(table, version(table, 3), version(table, 4, outcome="conflict"))
    assert asked(store, verify_identities.other_outcome, table) == [None] * 2
    judged(store, 5, "accepted")
    store.put(table, version(table, 5, outcome="conflict"))
    assert asked(store, verify_identities.other_outcome, table) == [Found(1, 5, 5)] * 2


def test_a_judged_payment_has_its_key(store: Store) -> None:
    """A version that waits for its ledger row may wait for its key as well; reads have none."""
    question = verify_identities.without_key
    store.put("payment_versions", version("payment_versions", 3))
    assert asked(store, question, "payment_versions") == [None] * 2
    judged(store, 3, "accepted")
    assert asked(store, question, "payment_versions") == [Found(1, 3, 3)] * 2
    assert asked(store, question, "read_versions") == [None] * 2
    key = {"home": 0, "identity": 1, "content_hash": 3, "position": 3, "outcome": "accepted"}
    store.put("payment_keys", key)
    assert asked(store, question, "payment_versions") == [None] * 2


def test_what_is_stored_just_now_is_left_for_later(store: Store) -> None:
    """A ledger row may be stored between the reading of two tables: a thorough question does not go by it."""
    judged(store, 1, "duplicate", age_s=-100)
    found = asked(store, verify_identities.duplicates_of_nothing, "payment_versions")
    assert found == [Found(1, 1, 1), None]
