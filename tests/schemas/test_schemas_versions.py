"""Versions of one identity by themselves: what is known, what counts, when a case is open."""

from typing import Any

import pytest

from schemas.conflicts import DEFAULT_RULE, LatestDecision
from schemas.versions import Identity, Version


def fields(**changes: Any) -> dict[str, Any]:
    """Columns of a payment version."""
    return {
        "payment_amount": 10, "payment_currency": "NGN", "currency_given": "NGN",
        "transaction_type": "FULL_PAYMENT", "status": "", "notes": "",
        "supplied": ["PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "TRANSACTION_TYPE"], **changes,
    }  # fmt: skip


def paid(status: str, **more: Any) -> dict[str, Any]:
    """The same payment with a status."""
    return fields(status=status, supplied=[*fields()["supplied"], "STATUS"], **more)


def identity(*versions: dict[str, Any], decision: tuple[list[int], list[int]] | None = None) -> Identity:
    """An identity whose versions have the contents 1, 2, 3 …"""
    found = [Version(n, 100 + n, given) for n, given in enumerate(versions, 1)]
    return Identity(found, {99}, LatestDecision(*decision, 1000) if decision else None)


def test_a_content_is_known_as_a_version_or_as_another_spelling() -> None:
    """Contents and aliases, nothing else."""
    found = identity(fields())
    assert [found.knows(content) for content in (1, 99, 2)] == [True, True, False]


def test_what_one_side_left_out_is_no_difference() -> None:
    """Any version that agrees in what both supplied is enough."""
    found = identity(fields(), paid("paid", payment_amount=20))
    assert found.spelling_of(paid("void")) is not None
    assert found.spelling_of(fields(payment_amount=20)) is not None
    assert found.spelling_of(fields(payment_amount=30)) is None


@pytest.mark.parametrize(
    ("versions", "decision", "in_force", "is_open"),
    [
        (1, None, [1], False),
        (2, None, [1], True),
        (2, ([2], [1, 2]), [2], False),
        (3, ([2], [1, 2]), [2], True),
        (2, ([1, 2], [1, 2]), [1, 2], False),
        (2, ([], []), [1], True),
        (2, ([77], [1, 2]), [1], False),
    ],
)
def test_a_case_is_open_until_a_decision_knows_every_version(
    versions: int, decision: tuple[list[int], list[int]] | None, in_force: list[int], is_open: bool
) -> None:
    """The first version counts until somebody decides; a version that came later reopens the case."""
    found = identity(*[fields()] * versions, decision=decision)
    assert (found.in_force, found.open) == (in_force, is_open)


@pytest.mark.parametrize(("now_ms", "decided_ms"), [(5000, 5000), (1000, 1001), (7, 1001)])
def test_a_ruling_is_later_than_the_decision_before_it(now_ms: int, decided_ms: int) -> None:
    """Even within one millisecond, or by a slow clock: the latest decision is always the last one made."""
    found = identity(paid("paid"), decision=([1], [1]))
    ruling = found.rule(DEFAULT_RULE, 2, paid("void"))
    assert ruling is not None
    assert found.decide(ruling, now_ms) == decided_ms
    assert found.decision == ([2], [1, 2], decided_ms)


def test_a_change_of_status_takes_the_new_version() -> None:
    """The default rule; everything known then is known to the decision."""
    ruling = identity(paid("paid")).rule(DEFAULT_RULE, 2, paid("void"))
    assert ruling is not None
    assert (ruling.decision, ruling.selected, ruling.known) == ("take_new", [2], [1, 2])


def test_a_reversal_counts_beside_what_is_in_force() -> None:
    """Both of an earlier decision stay in force."""
    found = identity(fields(), fields(payment_amount=20), decision=([1, 2], [1, 2]))
    ruling = found.rule(DEFAULT_RULE, 3, fields(payment_amount=-10, transaction_type="REVERSAL"))
    assert ruling is not None
    assert (ruling.decision, ruling.selected, ruling.known) == ("count_both", [1, 2, 3], [1, 2, 3])


def test_a_new_version_replaces_only_the_one_it_changes() -> None:
    """Of several in force, that from which it differs in harmless fields alone."""
    found = identity(paid("paid"), paid("paid", payment_amount=-10), decision=([1, 2], [1, 2]))
    ruling = found.rule(DEFAULT_RULE, 3, paid("void", payment_amount=-10))
    assert ruling is not None
    assert ruling.selected == [1, 3]


@pytest.mark.parametrize("rule", [{}, {"take_new_if_only": ["NOTES"]}])
def test_a_rule_that_does_not_apply_asks(rule: dict[str, Any]) -> None:
    """People decide."""
    assert identity(paid("paid")).rule(rule, 2, paid("void")) is None


def test_an_open_case_stays_open() -> None:
    """A rule closes nothing that nobody has looked at."""
    found = identity(paid("paid"), paid("paid", payment_amount=20))
    assert found.rule(DEFAULT_RULE, 3, paid("void")) is None


def test_fields_that_were_not_loaded_are_an_error() -> None:
    """A comparison with nothing would call everything the same."""
    with pytest.raises(LookupError, match="content 1 were not loaded"):
        Identity([Version(1, 100)], set(), None).spelling_of(fields())
