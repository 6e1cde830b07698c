"""The view payments: which rows are in force, what they match, whether they count."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sinks_helpers import NOON, Store, numbers, payment


def match(store: Store) -> list[tuple[str, str, str]]:
    """Connection, status and field of each payment, in order of position."""
    sql = "SELECT connection_id, match_status, matched_by FROM payments ORDER BY position"
    return [tuple(row.values()) for row in store.rows(sql)]


def test_a_payment_matches_by_exact_meter_id(store: Store) -> None:
    """METER_ID equals the external_id of one connection; near misses stay unmatched."""
    store.project("prj_a")
    store.connection("con_1", " M1 ")
    store.pay(*[payment(meter_id=meter) for meter in ("M1", "m1", "M 1", "0M1", "")])
    assert match(store) == [("con_1", "matched", "METER_ID")] + [("", "unmatched", "")] * 4


def test_a_connection_registered_later_counts_at_once(store: Store) -> None:
    """Nothing is re-ingested: the match is worked out when asked."""
    store.pay(payment())
    assert match(store) == [("", "unmatched", "")]
    store.connection("con_1", "M1")
    assert match(store) == [("con_1", "matched", "METER_ID")]


def test_external_id_is_asked_only_when_meter_id_finds_none(store: Store) -> None:
    """The candidates in order: METER_ID, then EXTERNAL_ID."""
    store.connection("con_1", "M1")
    store.connection("con_2", "E2")
    store.pay(
        payment(meter_id="M1", external_id="E2"),
        payment(meter_id="M9", external_id="E2"),
        payment(meter_id="", external_id="M1"),
        payment(meter_id="M9", external_id="E9"),
    )
    assert match(store) == [
        ("con_1", "matched", "METER_ID"),
        ("con_2", "matched", "EXTERNAL_ID"),
        ("con_1", "matched", "EXTERNAL_ID"),
        ("", "unmatched", ""),
    ]


def test_several_connections_are_ambiguous_and_count_nowhere(store: Store) -> None:
    """Two projects of the organisation use the same external_id; without a dataset nobody can tell."""
    store.connection("con_1", "M1", "prj_a")
    store.connection("con_2", "M1", "prj_b")
    store.pay(payment(external_id="E1"))
    store.connection("con_3", "E1")
    assert match(store) == [("", "ambiguous", "METER_ID")]
    assert store.rows("SELECT counted FROM payments") == [{"counted": False}]
    assert store.rows("SELECT sum(payments) AS n FROM verification") == [{"n": 0}]


def test_a_dataset_narrows_the_scope_to_its_projects(store: Store) -> None:
    """A payment of a project-level dataset matches within its projects alone."""
    for project in ("prj_a", "prj_b", "prj_c"):
        store.project(project)
        store.connection(f"con_{project}", "M1", project)
    store.dataset("ds_1", target="project", project_ids=["prj_b"])
    store.dataset("ds_2", target="project", project_ids=["prj_a", "prj_b"])
    store.dataset("ds_3", target="project", project_ids=[])
    store.pay(*[payment(dataset_id=dataset) for dataset in ("ds_1", "ds_2", "ds_3", "ds_unknown")])
    assert match(store) == [
        ("con_prj_b", "matched", "METER_ID"),
        ("", "ambiguous", "METER_ID"),
        ("", "unmatched", ""),
        ("", "unmatched", ""),
    ]


def test_a_programme_reaches_the_enrolled_projects_of_the_organisation(store: Store) -> None:
    """A programme-level target: projects of this organisation that are enrolled, no others."""
    store.project("prj_a", programmes=["prg_1", "prg_2"])
    store.project("prj_b")
    store.project("prj_x", organization="org_x", programmes=["prg_1"])
    store.connection("con_a", "M1", "prj_a")
    store.connection("con_b", "M2", "prj_b")
    store.connection("con_x", "M3", "prj_x", "org_x")
    store.dataset("ds_1", target="programme", programme_id="prg_1")
    store.pay(*[payment(dataset_id="ds_1", meter_id=meter) for meter in ("M1", "M2", "M3")])
    assert match(store) == [("con_a", "matched", "METER_ID"), ("", "unmatched", ""), ("", "unmatched", "")]


def test_organisations_never_match_each_other(store: Store) -> None:
    """The same external_id in another organisation is nobody's business."""
    store.connection("con_x", "M1", "prj_x", "org_x")
    store.pay(payment())
    assert match(store) == [("", "unmatched", "")]


def test_the_newest_version_of_a_connection_counts(store: Store) -> None:
    """A changed external_id moves the payments; an archived connection has none; old versions are kept."""
    store.connection("con_1", "M2", version=2)
    store.connection("con_1", "M1", version=1)
    store.pay(payment(meter_id="M1"), payment(meter_id="M2"))
    assert match(store) == [("", "unmatched", ""), ("con_1", "matched", "METER_ID")]
    store.connection("con_1", "M2", version=3, archived=True)
    assert match(store) == [("", "unmatched", "")] * 2
    assert store.rows("SELECT * FROM verification") == []
    assert store.rows("SELECT count() AS n FROM connection_versions") == [{"n": 3}]


def test_validity_is_compared_with_the_time_of_the_payment(store: Store) -> None:
    """A meter handed on: each payment belongs to the connection of its time, the end is excluded."""
    store.connection("con_1", "M1", valid_to=NOON)
    store.connection("con_2", "M1", valid_from=NOON, valid_to=NOON + timedelta(days=1))
    times = [NOON - timedelta(milliseconds=1), NOON, NOON + timedelta(days=1)]
    store.pay(*[payment(timestamp=time) for time in times])
    assert [row[:2] for row in match(store)] == [
        ("con_1", "matched"),
        ("con_2", "matched"),
        ("", "unmatched"),
    ]
    counted = store.rows("SELECT connection_id, payments FROM verification ORDER BY connection_id")
    assert [row["payments"] for row in counted] == [1, 1]


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({}, True),
        ({"transaction_type": "INSTALLMENT_PAYMENT"}, True),
        ({"transaction_type": "NON_CONTRACT_PAYMENT"}, True),
        ({"transaction_type": ""}, True),
        ({"transaction_type": "DISCOUNT"}, False),
        ({"transaction_type": "ENERGY_CREDIT"}, False),
        ({"transaction_type": "REVERSAL"}, False),
        ({"payment_amount": Decimal(0)}, False),
        ({"payment_amount": Decimal(-5)}, False),
        ({"payment_amount": Decimal("0.000000001")}, True),
        ({"status": "Processed"}, True),
        ({"status": " REVERSED"}, False),
        ({"status": "Error"}, False),
        ({"status": "pending"}, False),
    ],
)
def test_what_counts(store: Store, fields: dict[str, Any], counted: bool) -> None:
    """Type, amount and STATUS decide, in any case of letters."""
    store.pay(payment(**fields))
    assert store.rows("SELECT counted FROM payments") == [{"counted": counted}]


def test_a_reversal_undoes_the_payment_with_its_reference(store: Store) -> None:
    """Same organisation, same REFERENCE_ID; an empty reference links nothing."""
    store.pay(
        payment(reference_id="R1"),
        payment(reference_id="R2"),
        payment(reference_id=""),
        payment(reference_id="R1", organization_id="org_b"),
    )
    store.pay(payment(reference_id="R1", transaction_type="REVERSAL"))
    store.pay(payment(reference_id="", transaction_type="REVERSAL"))
    rows = store.rows("SELECT counted, reversed FROM payments ORDER BY position")
    assert [row["counted"] for row in rows] == [False, True, True, True, False, False]
    assert [row["reversed"] for row in rows] == [True, False, False, False, False, False]


def test_a_reversal_must_be_in_force(store: Store) -> None:
    """A REVERSAL that is a version not selected reverses nothing; once selected it does."""
    store.pay(payment(reference_id="R1"))
    first, second = store.pay(
        payment(id="Z", transaction_type="DISCOUNT"),
        payment(id="Z", transaction_type="REVERSAL", reference_id="R1", outcome="conflict"),
    )
    counted = "SELECT counted FROM payments WHERE reference_id = 'R1' AND transaction_type = 'FULL_PAYMENT'"
    assert store.rows(counted) == [{"counted": True}]
    both = [first["content_hash"], second["content_hash"]]
    store.decide(first, "count_both", selected=both, known=both)
    assert store.rows(counted) == [{"counted": False}]


def test_of_several_versions_the_first_counts_until_a_decision(store: Store) -> None:
    """The accepted one, wherever a forwarded row came from; then what is decided, and undone."""
    first = payment(id="A", payment_amount=Decimal(1), outcome="accepted", position=2_000_000)
    second = payment(id="A", payment_amount=Decimal(2), outcome="conflict", position=1_000_000)
    store.pay(second)
    store.pay(first, payment(id="B", payment_amount=Decimal(100)))

    def amounts() -> list[Decimal]:
        rows = store.rows("SELECT payment_amount FROM payments ORDER BY payment_amount")
        return [row["payment_amount"] for row in rows]

    hashes = [first["content_hash"], second["content_hash"]]
    assert amounts() == [1, 100]
    store.decide(first, "take_new", selected=hashes[1:], known=hashes)
    assert amounts() == [2, 100]
    store.decide(first, "count_both", selected=hashes, known=hashes)
    assert amounts() == [1, 2, 100]
    store.decide(first, "undo")
    assert amounts() == [1, 100]


def test_of_two_accepted_versions_the_first_counts(store: Store) -> None:
    """Outcomes are history: that both were accepted once, and one has no key, lets neither count twice."""
    later = payment(id="A", payment_amount=Decimal(9), meter_id="M2", position=next(numbers) + 10**6)
    store.put("payment_versions", later)
    [first] = store.pay(payment(id="A", payment_amount=Decimal(7)))
    store.pay(payment(id="B"))
    amounts = "SELECT toInt32(payment_amount) AS amount FROM payments WHERE id = 'A'"
    assert store.rows(amounts) == [{"amount": 7}]
    case = store.rows("SELECT open, versions FROM conflicts")[0]
    assert case["open"]
    assert [(v["content_hash"], v["counting"]) for v in case["versions"]] == [
        (first["content_hash"], True),
        (later["content_hash"], False),
    ]
    selected = [later["content_hash"]]
    store.decide(first, "take_new", selected=selected, known=[first["content_hash"], *selected])
    assert store.rows(amounts) == [{"amount": 9}]


def test_a_decision_for_a_version_that_is_not_stored_yet_loses_nothing(store: Store) -> None:
    """Between two inserts a decision may be ahead of its version: until then the first counts."""
    first = payment(id="A")
    store.pay(first, payment(id="A", outcome="conflict"))
    store.decide(first, "take_new", selected=[4711], known=[4711])
    assert store.rows("SELECT content_hash FROM payments") == [{"content_hash": first["content_hash"]}]


def test_a_shared_id_keeps_its_second_payment_through_merges(store: Store) -> None:
    """Ordered by identity alone, a merge would destroy the second payment of a shared id."""
    first = payment(id="A")
    second = payment(id="A", payment_amount=Decimal(7), outcome="conflict")
    store.pay(first)
    store.pay(second)
    store.client.command("OPTIMIZE TABLE payment_versions FINAL")
    assert store.rows("SELECT count() AS n FROM payment_versions") == [{"n": 2}]


def test_coordinates_are_blurred_and_source_keeps_its_name_apart(store: Store) -> None:
    """Analysts see 3 decimals; `source` is the channel, the seed's SOURCE is payment_source_field."""
    store.pay(payment(latitude=1.23456, longitude=-30.98765, source="s3", source_field="mobile"))
    row = store.rows("SELECT latitude, longitude, source, payment_source_field FROM payments")[0]
    assert list(row.values()) == [1.235, -30.988, "s3", "mobile"]


def test_near_misses_are_hints(store: Store) -> None:
    """Case, spaces and leading zeros are pointed out; they never match."""
    store.connection("con_1", "Ab 1")
    store.pay(*[payment(meter_id=meter) for meter in ("AB1", "00ab1", "ab1", "ab1", "Ab 1", "ab2", "")])
    rows = store.rows(
        "SELECT sent_id, payments, connection_id, external_id FROM match_hints ORDER BY sent_id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("00ab1", 1, "con_1", "Ab 1"),
        ("AB1", 1, "con_1", "Ab 1"),
        ("ab1", 2, "con_1", "Ab 1"),
    ]
    assert [row[1] for row in match(store)].count("matched") == 1
