"""The view verification: one row per connection with its evidence."""

import random
from datetime import timedelta
from decimal import Decimal

from sinks_helpers import NOON, Store, payment, read

from sinks import queries


def test_every_connection_in_use_has_a_row(store: Store) -> None:
    """Without any payment it is there, not verified, and empty."""
    store.connection("con_1", "M1")
    assert store.rows("SELECT * FROM verification") == [
        {
            "organization_id": "org_a",
            "project_id": "prj_a",
            "connection_id": "con_1",
            "external_id": "M1",
            "verified": False,
            "payments": 0,
            "first_payment": None,
            "last_payment": None,
            "totals": {},
            "totals_by_type": {},
            "net_totals": {},
            "energy_wh": Decimal(0),
            "device_id": "",
        }
    ]


def test_counted_payments_verify_and_add_up(store: Store) -> None:
    """Number, first, last and totals by currency of what counts; by type as sent; net less reversals."""
    store.connection("con_1", "M1")
    store.pay(
        payment(payment_amount=Decimal("10.5")),
        payment(payment_amount=Decimal(4), timestamp=NOON - timedelta(days=3)),
        payment(payment_amount=Decimal(7), payment_currency="KES", timestamp=NOON + timedelta(days=1)),
        payment(payment_amount=Decimal(3), transaction_type="DISCOUNT", timestamp=NOON + timedelta(days=9)),
        payment(payment_amount=Decimal(90), status="pending"),
        payment(payment_amount=Decimal(20), reference_id="R1"),
        payment(payment_amount=Decimal(-20), transaction_type="REVERSAL", reference_id="R1"),
        payment(payment_amount=Decimal(50), reference_id="R2"),
        payment(payment_amount=Decimal(30), transaction_type="REVERSAL", reference_id="R2"),
    )
    row = store.rows("SELECT * FROM verification")[0]
    assert row["verified"] is True
    assert row["payments"] == 3
    assert (row["first_payment"], row["last_payment"]) == (NOON - timedelta(days=3), NOON + timedelta(days=1))
    assert row["totals"] == {"NGN": Decimal("14.5"), "KES": Decimal(7)}
    assert row["net_totals"] == {"NGN": Decimal("34.5"), "KES": Decimal(7)}
    assert row["totals_by_type"] == {
        "NGN": {"FULL_PAYMENT": Decimal("84.5"), "DISCOUNT": Decimal(3), "REVERSAL": Decimal(10)},
        "KES": {"FULL_PAYMENT": Decimal(7)},
    }


def test_a_payment_reversed_in_full_nets_to_nothing(store: Store) -> None:
    """Whatever the sign of the reversal, and also when the payment's own STATUS says reversed."""
    store.connection("con_1", "M1")
    store.pay(
        payment(payment_amount=Decimal(20), reference_id="R1", status="REVERSED"),
        payment(payment_amount=Decimal(20), transaction_type="REVERSAL", reference_id="R1"),
        payment(payment_amount=Decimal(8), status="reversed"),
    )
    row = store.rows("SELECT verified, totals, net_totals FROM verification")[0]
    assert row == {"verified": False, "totals": {}, "net_totals": {"NGN": Decimal(0)}}


def test_energy_comes_from_the_named_device(store: Store) -> None:
    """A connection may name its device; another organisation's reads do not reach it."""
    store.device("dev_a", "X")
    store.connection("con_1", "M1", device_id="dev_a")
    store.put("read_versions", read(NOON, 500, type="Delta", start=NOON - timedelta(hours=1)))
    store.put("read_versions", read(NOON, 900, type="Delta", organization_id="org_b"))
    assert store.rows("SELECT device_id, energy_wh FROM verification") == [
        {"device_id": "dev_a", "energy_wh": Decimal(500)}
    ]


def test_energy_comes_from_the_only_device_of_that_name(store: Store) -> None:
    """External id or serial number, same project; two such devices are none; archived ones do not count."""
    store.device("dev_a", "M1", serial_number="M1")
    store.device("dev_b", "other", serial_number="M2")
    store.device("dev_c", "M3")
    store.device("dev_d", "x", serial_number="M3")
    store.device("dev_e", "M4", project="prj_b")
    store.device("dev_f", "M5")
    store.device("dev_g", "M5", archived=True)
    for number in range(1, 6):
        store.connection(f"con_{number}", f"M{number}")
    rows = store.rows("SELECT device_id FROM verification ORDER BY connection_id")
    assert [row["device_id"] for row in rows] == ["dev_a", "dev_b", "", "", "dev_f"]


def test_verification_is_the_sum_of_the_payments(store: Store) -> None:
    """The roll-up, which groups before it matches, agrees with the payments view on random data."""
    rng = random.Random(7)
    for number in range(12):
        bound = {"valid_from": NOON + timedelta(days=rng.randrange(-9, 9))} if number % 3 == 0 else {}
        store.connection(f"con_{number}", f"M{rng.randrange(8)}", f"prj_{number % 3}", **bound)
    for number in range(3):
        store.project(f"prj_{number}", programmes=["prg"] if number else [])
    store.dataset("ds_1", target="project", project_ids=["prj_0", "prj_1"])
    store.dataset("ds_2", target="programme", programme_id="prg")
    types = ("FULL_PAYMENT", "REVERSAL", "", "DISCOUNT")
    rows = []
    for number in range(400):
        known = number > 20 and rng.random() < 0.2
        rows.append(
            payment(
                id=f"P{rng.randrange(20) if known else number}",
                outcome="conflict" if known else "accepted",
                meter_id=f"M{rng.randrange(10)}",
                external_id=rng.choice(["", f"M{rng.randrange(8)}"]),
                dataset_id=rng.choice(["", "ds_1", "ds_2"]),
                payment_amount=Decimal(rng.randrange(-2, 50)),
                payment_currency=rng.choice(["NGN", "KES"]),
                transaction_type=rng.choice(types),
                status=rng.choice(["", "", "pending", "ok"]),
                reference_id=rng.choice(["", "", f"R{rng.randrange(40)}"]),
                timestamp=NOON + timedelta(days=rng.randrange(-9, 9)),
            )
        )
    store.pay(*rows)
    by_view = store.rows(
        "SELECT connection_id, payments, first_payment, last_payment,"
        " totals['NGN'] AS ngn, totals['KES'] AS kes"
        " FROM verification WHERE payments > 0 ORDER BY connection_id"
    )
    by_hand = store.rows(
        "SELECT connection_id, count() AS payments, min(timestamp) AS first_payment,"
        " max(timestamp) AS last_payment, sumIf(payment_amount, payment_currency = 'NGN') AS ngn,"
        " sumIf(payment_amount, payment_currency = 'KES') AS kes"
        " FROM payments WHERE counted AND match_status = 'matched'"
        " GROUP BY connection_id ORDER BY connection_id"
    )
    assert len(by_view) > 3
    assert by_view == by_hand


def test_the_verification_of_one_connection(store: Store) -> None:
    """Asked with its organisation; of another organisation it does not exist."""
    store.connection("con_1", "M1")
    store.pay(payment())
    row = queries.verification(store.client, "org_a", "con_1")
    assert row is not None
    assert (row["payments"], row["verified"]) == (1, True)
    assert queries.verification(store.client, "org_b", "con_1") is None
    assert queries.verification(store.client, "org_a", "con_9") is None
