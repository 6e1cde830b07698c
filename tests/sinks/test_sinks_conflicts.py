"""The view conflicts: one case per record with several versions, computed from what is stored."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sinks_helpers import NOON, Store, payment, read

from schemas.content import differences
from sinks.cases import cases, decisions_about
from sinks.rulings import latest_decisions
from sinks.stored_versions import stored_payments, stored_reads


def test_one_version_is_no_case(store: Store) -> None:
    """Stored twice, or known under an alias, it is still one version."""
    row = payment(id="A")
    store.pay(row)
    store.pay(row)
    names = ("home", "identity", "position")
    store.put("payment_keys", {**{n: row[n] for n in names}, "content_hash": 99, "outcome": "alias"})
    assert store.rows("SELECT * FROM conflicts") == []


def test_a_case_lists_the_accepted_version_first(store: Store) -> None:
    """With lineage, and which of them counts now."""
    second = payment(id="A", payment_amount=Decimal(2), outcome="conflict", source_ref="b", line=9)
    first = {**payment(id="A", source_ref="a", line=4), "position": second["position"] - 10**6 + 10**7}
    first["position"] = 0
    store.pay(second)
    store.pay(first)
    case = store.rows("SELECT * FROM conflicts")[0]
    assert (case["organization_id"], case["record_type"], case["record_id"]) == ("org_a", "payment", "A")
    assert case["identity"] == first["identity"]
    assert [(v["content_hash"], v["position"]) for v in case["versions"]] == [
        (first["content_hash"], first["position"]),
        (second["content_hash"], second["position"]),
    ]
    assert [v["counting"] for v in case["versions"]] == [True, False]
    assert [(v["source_ref"], v["line"]) for v in case["versions"]] == [("a", 4), ("b", 9)]
    assert (case["open"], case["decision"], case["decided_at"]) == (True, "", None)


def test_the_newest_version_is_the_one_stored_last(store: Store) -> None:
    """Positions begin with the number of the partition: an earlier version may have a higher one."""
    first, high, low = (payment(id="A", payment_amount=Decimal(n), outcome="conflict") for n in (1, 2, 3))
    first["outcome"] = "accepted"
    high |= {"position": 3 << 48, "transaction_type": "DISCOUNT"}
    for row in (first, high, low):
        store.pay(row)
        time.sleep(0.002)  # rows stored in one millisecond go by position
    hashes = [row["content_hash"] for row in (first, high, low)]
    (case,) = cases(store.client, {"transaction_type": "FULL_PAYMENT"})
    assert [version["content_hash"] for version in case["versions"]] == hashes
    assert cases(store.client, {"transaction_type": "DISCOUNT"}) == []
    found = stored_payments(store.client, [first["identity"]])
    assert [row["content_hash"] for row in found] == hashes
    set_aside = "SELECT versions FROM payment_versions_in_case_as_known(at = '2299-01-01 00:00:00.000')"
    assert store.rows(set_aside) == [{"versions": hashes}]


def test_the_newest_version_of_a_read_is_the_one_stored_last(store: Store) -> None:
    """The same for reads."""
    rows = [read(NOON, 100), read(NOON, 130, outcome="conflict"), read(NOON, 90, outcome="conflict")]
    rows[1]["position"] = 3 << 48
    for row in rows:
        store.put("read_versions", row)
        time.sleep(0.002)
    hashes = [row["content_hash"] for row in rows]
    (case,) = cases(store.client, {"record_type": "read"})
    assert [version["content_hash"] for version in case["versions"]] == hashes
    found = stored_reads(store.client, [rows[0]["identity"]])
    assert [row["content_hash"] for row in found] == hashes
    in_case = "SELECT versions FROM read_versions_in_case_as_known(at = '2299-01-01 00:00:00.000')"
    assert store.rows(in_case) == [{"versions": hashes}]


def test_a_person_outweighs_a_rule_that_was_stored_before(store: Store) -> None:
    """Whatever his clock says; a rule that is stored later, but looked before, does not outweigh him."""
    rows = store.pay(payment(id="A"), payment(id="A", outcome="conflict"))
    hashes = [row["content_hash"] for row in rows]
    now = datetime.now(UTC)
    rule = {"decided_by": "rule", "selected": hashes[1:], "known": hashes, "decided_at": now}
    store.decide(rows[0], "take_new", **rule, decision_id="rule:1")
    time.sleep(0.002)
    early = now - timedelta(seconds=2)
    store.decide(rows[0], "keep_first", selected=hashes[:1], known=hashes[:1], decided_at=early)
    store.decide(rows[0], "take_new", **rule, decision_id="rule:2")
    case = store.rows("SELECT decision, decided_by, open FROM conflicts")[0]
    assert case == {"decision": "keep_first", "decided_by": "usr_1", "open": True}
    identity = rows[0]["identity"]
    assert latest_decisions(store.client, [identity])[identity].selected == hashes[:1]
    told = [made["decision"] for made in decisions_about(store.client, [identity])]
    assert told == ["take_new", "take_new", "keep_first"]


def test_no_wrong_outcome_can_hide_a_case(store: Store) -> None:
    """Two versions that are both called accepted are a case all the same."""
    store.pay(payment(id="A"), payment(id="A", payment_amount=Decimal(3)))
    case = store.rows("SELECT open, differing_fields FROM conflicts")[0]
    assert case == {"open": True, "differing_fields": ["PAYMENT_AMOUNT"]}


def test_a_new_version_reopens_the_case(store: Store) -> None:
    """A decision closes it for the versions it knew; an undo opens it again."""
    rows = store.pay(payment(id="A"), payment(id="A", outcome="conflict"))
    hashes = [row["content_hash"] for row in rows]

    def state() -> tuple[Any, ...]:
        case = store.rows("SELECT open, decision, decided_by, versions FROM conflicts")[0]
        return case["open"], case["decision"], case["decided_by"], [v["counting"] for v in case["versions"]]

    store.decide(rows[0], "take_new", selected=hashes[1:], known=hashes, decided_by="rule")
    assert state() == (False, "take_new", "rule", [False, True])
    store.pay(payment(id="A", outcome="conflict"))
    assert state() == (True, "take_new", "rule", [False, True, False])
    store.decide(rows[0], "undo")
    assert state() == (True, "undo", "usr_1", [True, False, False])


def test_an_undo_puts_the_decision_before_it_in_force(store: Store) -> None:
    """With what that one knew: the case is as closed as it was then."""
    rows = store.pay(payment(id="A"), payment(id="A", outcome="conflict"))
    hashes = [row["content_hash"] for row in rows]
    store.decide(rows[0], "count_both", selected=hashes, known=hashes)
    store.decide(rows[0], "keep_first", selected=hashes[:1], known=hashes)
    store.decide(rows[0], "undo", selected=hashes, known=hashes)
    case = store.rows("SELECT open, decision, versions FROM conflicts")[0]
    assert (case["open"], case["decision"]) == (False, "undo")
    assert [v["counting"] for v in case["versions"]] == [True, True]
    assert latest_decisions(store.client, [rows[0]["identity"]])[rows[0]["identity"]][:2] == (hashes, hashes)


def test_a_decision_written_again_stays_what_it_was(store: Store) -> None:
    """A rule's decision repeated after a crash does not overtake what a person decided meanwhile."""
    rows = store.pay(payment(id="A"), payment(id="A", outcome="conflict"))
    hashes = [row["content_hash"] for row in rows]
    rule = {"decision_id": "rule:1", "selected": hashes[1:], "known": hashes}
    store.decide(rows[0], "take_new", **rule)
    store.decide(rows[0], "keep_first", selected=hashes[:1], known=hashes)
    time.sleep(0.002)  # rows stored in one millisecond have no order
    store.decide(rows[0], "take_new", **rule)
    assert store.rows("SELECT decision FROM decisions_in_force") == [{"decision": "keep_first"}]
    identity = rows[0]["identity"]
    assert latest_decisions(store.client, [identity])[identity].selected == hashes[:1]


FULL: dict[str, Any] = {
    "supplied": ["TIMESTAMP", "PAYMENT_AMOUNT", "STATUS", "LATITUDE", "SOURCE", "PAYMENT_CURRENCY", "custom"],
    "status": "ok",
    "latitude": 1.5,
    "source_field": "cash",
    "custom": {"a": "1", "b": "2"},
}


@pytest.mark.parametrize(
    "change",
    [
        {"payment_amount": Decimal("10.000000001")},
        {"status": "late"},
        {"timestamp": NOON.replace(microsecond=1000)},
        {"latitude": 1.6, "source_field": "mobile"},
        {"custom": {"a": "1", "b": "3", "c": "4"}},
        {"payment_currency": "KES", "currency_given": "KES"},
        {"payment_currency": "KES", "currency_given": " ngn"},
        {"supplied": ["TIMESTAMP"], "payment_amount": Decimal(3), "status": ""},
        {"customer_name": "0" * 64},
    ],
)
def test_differing_fields_are_those_the_worker_compares(store: Store, change: dict[str, Any]) -> None:
    """A field absent on one side is no difference, personal fields are not compared."""
    rows = store.pay(payment(id="A", **FULL), payment(id="A", **{**FULL, **change, "outcome": "conflict"}))
    case = store.rows("SELECT differing_fields FROM conflicts")[0]
    assert sorted(case["differing_fields"]) == sorted(differences(rows[0], rows[1]))


def test_reads_have_cases_too(store: Store) -> None:
    """Two values for one device, type and time."""
    store.put("read_versions", read(NOON, 100), read(NOON, 130))
    case = store.rows("SELECT record_type, record_id, differing_fields, open FROM conflicts")[0]
    assert case == {
        "record_type": "read",
        "record_id": "D1 Aggregate 2026-03-01 12:00:00.000",
        "differing_fields": ["value"],
        "open": True,
    }
