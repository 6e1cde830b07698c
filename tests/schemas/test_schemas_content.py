"""Content hashes, differences between versions, and conflict rules."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payment_rows import row, stored, verdict

from schemas.conflicts import DEFAULT_RULE, apply_conflict_rule
from schemas.content import HASH_VERSION, content_hash, custom_text, differences
from schemas.fields import FIELDS
from schemas.identity import netstrings
from schemas.payments import PaymentContext
from schemas.personal import Pseudonymizer
from schemas.unknown_columns import without_personal

FULL = row(
    STATUS="processed",
    NOTES="n",
    TRANSACTION_CHARGES="10",
    LATITUDE="1.5",
    LONGITUDE="2.5",
    FAILED_BATTERY_CAPACITY_COUNT="1",
    SOURCE="cash",
)


PINNED = 79302347762361080


def hash_of(cells: dict[str, Any]) -> int:
    """Content hash of a good row."""
    (found,) = verdict(cells).content_hash
    return found


def test_hash_carries_its_version() -> None:
    """The top eight bits are the version of the normalisation."""
    assert hash_of(FULL) >> 56 == HASH_VERSION
    assert content_hash("") >> 56 == HASH_VERSION


def test_hash_is_pinned() -> None:
    """The hash of a known row never changes: it would turn every re-send into a conflict."""
    assert hash_of(FULL) == PINNED


@pytest.mark.parametrize(
    "spelling",
    [
        {"PAYMENT_AMOUNT": "5e3"},
        {"PAYMENT_AMOUNT": 5000},
        {"PAYMENT_CURRENCY": "NGN"},
        {"TIMESTAMP": "2021-05-16 15:16:01.000+01:00"},
        {"TRANSACTION_TYPE": "installment payment"},
        {"METER_ID": 45987},
        {"STATUS": " processed "},
        {"REFERENCE_ID": "N/A"},
        {"LATITUDE": 1.5},
        {"CUSTOMER_NAME": "Jane"},
        {"CUSTOMER_PHONE": "1"},
        {"AGENT_ID": "a"},
        {"LOCATION": "b"},
    ],
)
def test_other_spellings_and_personal_fields_are_the_same_content(spelling: dict[str, Any]) -> None:
    """Normalisation comes before the hash; personal fields but NOTES stay out of it."""
    assert hash_of({**FULL, **spelling}) == hash_of(FULL)


@pytest.mark.parametrize(
    "change",
    [
        {"PAYMENT_AMOUNT": "-5000"},
        {"STATUS": "reversed"},
        {"STATUS": "N/A"},
        {"NOTES": "m"},
        {"EXTERNAL_ID": "x"},
        {"TIMESTAMP": "2021-05-16T14:16:01.001"},
        {"SITE": "A"},
        {"SOURCE": "card"},
    ],
)
def test_changes_are_other_content(change: dict[str, Any]) -> None:
    """A changed, added or removed content field gives another hash."""
    assert hash_of({**FULL, **change}) != hash_of(FULL)


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=4), max_size=4))
def test_custom_text_is_unambiguous(custom: dict[str, str]) -> None:
    """Names and values of unknown columns cannot run into each other; personal ones are left out."""
    content = without_personal(custom)
    parts = [part for name in sorted(content) for part in (name, content[name])]
    assert custom_text(custom) == netstrings(*parts)


def test_non_ascii_lengths_are_bytes() -> None:
    """The netstring of a text that is not ASCII has its length in UTF-8 bytes, alone and beside others."""
    alone = hash_of({**FULL, "STATUS": "payé"})
    assert verdict({**FULL, "STATUS": "payé"}, FULL).content_hash[0] == alone


def test_no_difference_in_what_only_one_side_supplied() -> None:
    """A field that is absent on one side is no difference."""
    assert differences(stored(row()), stored(FULL)) == []


def test_differences_are_named_in_the_order_of_the_table() -> None:
    """Changed content fields are named; personal ones are not."""
    new = stored({**FULL, "STATUS": "reversed", "PAYMENT_AMOUNT": "1", "CUSTOMER_NAME": "Jane", "NOTES": "m"})
    assert differences(stored(FULL), new) == ["PAYMENT_AMOUNT", "STATUS", "NOTES"]


def test_differences_read_what_clickhouse_returns() -> None:
    """Datetimes and shorter decimals of a stored row are the same values."""
    old = stored(FULL)
    old["timestamp"] = datetime(2021, 5, 16, 14, 16, 1, tzinfo=UTC)
    assert differences(old, stored(FULL)) == []


@pytest.mark.parametrize("status", ["reversed", " Pending", "ERROR"])
def test_a_status_that_holds_back_differs_from_none(status: str) -> None:
    """Who leaves STATUS empty until a payment is taken back is heard; no status takes nothing back."""
    plain, held = row(), row(STATUS=status)
    assert differences(stored(plain), stored(held)) == ["STATUS"]
    assert differences(stored(held), stored(plain)) == []
    assert differences(stored(plain), stored(row(STATUS="processed"))) == []


def test_custom_differences() -> None:
    """Unknown columns that both have are compared, each for itself."""
    old, new = stored(row(A="1", B="2")), stored(row(A="1", B="3", C="4"))
    assert differences(old, new) == ["custom.B"]


def test_ambiguous_currency_under_another_default_is_no_difference() -> None:
    """`CFA` is `CFA`, whatever the default was; a code differs from another code."""
    cells = row(PAYMENT_CURRENCY="CFA")
    old, new = (stored(cells, PaymentContext("s3", default)) for default in ("XOF", "XAF"))
    assert differences(old, new) == []
    assert differences(stored(row()), stored(row(PAYMENT_CURRENCY="EUR"))) == ["PAYMENT_CURRENCY"]


def test_new_pseudonym_key_makes_no_conflict() -> None:
    """With another key only NOTES looks different, and that takes the new version by default."""
    rows = []
    for secret in (b"a" * 32, b"b" * 32):
        cells = dict(FULL)
        Pseudonymizer(secret).protect("org_1", cells)
        rows.append(stored(cells))
    assert differences(*rows) == ["NOTES"]
    assert apply_conflict_rule(DEFAULT_RULE, ["NOTES"], "") == "take_new"


@pytest.mark.parametrize(
    ("rule", "differing", "new_type", "decision"),
    [
        (DEFAULT_RULE, ["STATUS"], "FULL_PAYMENT", "take_new"),
        (DEFAULT_RULE, ["STATUS", "NOTES"], "", "take_new"),
        (DEFAULT_RULE, ["STATUS", "PAYMENT_AMOUNT"], "", None),
        (DEFAULT_RULE, ["PAYMENT_AMOUNT"], "REVERSAL", "count_both"),
        (DEFAULT_RULE, ["STATUS"], "REVERSAL", "count_both"),
        (DEFAULT_RULE, [], "FULL_PAYMENT", None),
        ({}, ["STATUS"], "REVERSAL", None),
        ({"take_new_if_only": [], "count_both_if_type": []}, ["STATUS"], "REVERSAL", None),
    ],
)
def test_conflict_rules(rule: Any, differing: list[str], new_type: str, decision: str | None) -> None:
    """The default decides on STATUS, NOTES and reversals; an empty rule always asks."""
    assert apply_conflict_rule(rule, differing, new_type) == decision


def test_columns_do_not_collide() -> None:
    """No payment column takes a name that lineage needs."""
    columns = [field.column for field in FIELDS]
    assert len(set(columns)) == len(columns)
    assert not {"source", "source_ref", "line", "dataset_id"} & set(columns)
