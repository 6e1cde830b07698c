"""Exact numbers in answers."""

from decimal import Decimal

import pytest

from api.ledger.schemas import Verification
from api.numbers import decimal_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.300000000", "0.3"),
        ("5000.000000000", "5000"),
        ("-0.000000000", "0"),
        ("0E-9", "0"),
        ("1E+3", "1000"),
        ("-70.5", "-70.5"),
        ("12345678901234567890123456789.123456789", "12345678901234567890123456789.123456789"),
    ],
)
def test_a_decimal_is_told_with_all_its_digits(value: str, text: str) -> None:
    """The 38 digits of a column too, and none that its scale adds."""
    assert decimal_text(Decimal(value)) == text


def test_a_verification_adds_up_exactly() -> None:
    """0.1 and 0.2 are 0.3."""
    total = {"NGN": Decimal("0.1") + Decimal("0.2")}
    said = Verification(
        organization_id="o", project_id="p", connection_id="c", external_id="e", totals=total,
        net_totals=total, totals_by_type={"NGN": {"": total["NGN"]}}, energy_wh=Decimal("1234567.000000001"),
    ).model_dump(mode="json")  # fmt: skip
    assert said["totals"] == said["net_totals"] == {"NGN": "0.3"}
    assert said["totals_by_type"] == {"NGN": {"": "0.3"}}
    assert said["energy_wh"] == "1234567.000000001"
