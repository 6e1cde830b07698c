"""What counts: every payment's and read's content, the cases, verification, and a person's decisions."""

import random
from decimal import Decimal
from typing import Any

from tests.faults.feed import DEVICES, Feed, amount_of, value_of
from tests.faults.harness.files import CONNECTED, STATUSES, Files
from tests.faults.harness.model import Payment
from tests.faults.harness.plant import Plant

FIRST_START = 1_767_225_600
STEP_S = 900
DECIDED = 4
"""Cases that a person decides at the end of a run."""


def check_feed(plant: Plant, feed: Feed, organization_id: str) -> None:
    """Of every record on the topics the content that was accepted counts, with what its sender said.

    Which of several contents comes first nobody can tell who sends to all partitions at once: the ledger
    says which row it accepted, and the sender knows what he sent in it.
    """
    accepted = _accepted_lines(plant, organization_id)
    for kind, lines in accepted.items():
        bad = lines - feed.good[kind].keys()
        assert not bad, f"{kind}s accepted that were no good rows: {sorted(bad)[:5]}"
    expected = Counted()
    for line in accepted["payment"]:
        number, variant = feed.good["payment"][line]
        expected[f"P{number}"] = Decimal(amount_of(number, variant))
    counting = plant.books.rows(
        f"SELECT id, toString(payment_amount) FROM payments WHERE organization_id = '{organization_id}'"
    )
    assert_same("payments", {name: Decimal(amount) for name, amount in counting}, expected)
    reads = Counted()
    for line in accepted["read"]:
        number, variant = feed.good["read"][line]
        end = FIRST_START + (number // len(DEVICES) + 1) * STEP_S
        reads[DEVICES[number % len(DEVICES)], end] = Decimal(str(value_of(number, variant)))
    stored = plant.books.rows(
        "SELECT device_external_id, toUnixTimestamp(end), toString(raw_value) FROM reads"
        f" WHERE organization_id = '{organization_id}'"
    )
    found = {(device, int(end)): Decimal(value) for device, end, value in stored}
    assert len(found) == len(stored), "a read counts twice"
    assert_same("reads", found, reads)
    for kind in ("payment", "read"):
        several = sum(len(contents) > 1 for contents in feed.contents[kind].values())
        cases, still_open = plant.books.rows(
            f"SELECT count(), countIf(open) FROM conflicts WHERE organization_id = '{organization_id}'"
            f" AND record_type = '{kind}'"
        )[0]
        assert (int(cases), int(still_open)) == (several, several), f"cases of {kind}s: {cases} of {several}"


Counted = dict[Any, Decimal]
"""What counts by its name."""


def assert_same(what: str, found: Counted, expected: Counted) -> None:
    """Both alike; names the first differences, which hold no personal data here."""
    wrong = [
        (name, found.get(name), expected.get(name))
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    assert not wrong, f"{len(wrong)} {what} differ (found, expected): {wrong[:5]}"


def _accepted_lines(plant: Plant, organization_id: str) -> dict[str, set[int]]:
    lines: dict[str, set[int]] = {"payment": set(), "read": set()}
    for kind, line in plant.books.rows(
        f"SELECT record_type, line FROM ledger WHERE organization_id = '{organization_id}'"
        " AND outcome = 'accepted'"
    ):
        lines[kind].add(int(line))
    return lines


def check_files(plant: Plant, files: Files, dice: random.Random) -> None:
    """What the model says counts, is open, and adds up per connection; so too after decisions by a person."""
    _follow_moved_rows(plant, files)
    _check_model(plant, files)
    cases = _cases(plant, files)
    for name in dice.sample(sorted(cases), min(DECIDED, len(cases))):
        _decide(plant, files.model.payments[name], cases[name], dice)
    _check_model(plant, files)


def _follow_moved_rows(plant: Plant, files: Files) -> None:
    """Let the model know in which order the versions of some IDs came.

    When partitions are added while everything runs, a row that was not judged by then is sent on, and rows of
    later files may overtake it (docs/operations.md, "Adding partitions"). Such IDs have rows in several
    partitions; the case says which version was the first.
    """
    moved = plant.books.rows(
        f"SELECT record_id FROM ledger WHERE organization_id = '{files.organization_id}'"
        " AND record_type = 'payment' GROUP BY record_id HAVING uniqExact(partition) > 1"
    )
    cases = _cases(plant, files)
    for name in files.model.conflicts.keys() & {name for (name,) in moved} & cases.keys():
        told = plant.api.get(f"/v1/conflicts/payment/{cases[name]['identity']}")
        fields = [version["fields"] for version in told["versions"]]
        files.model.came_as(name, [(Decimal(it["PAYMENT_AMOUNT"]), it["STATUS"]) for it in fields])


def _check_model(plant: Plant, files: Files) -> None:
    found = plant.books.rows(
        f"SELECT id, toString(payment_amount) FROM payments WHERE organization_id = '{files.organization_id}'"
    )
    counting = sorted((name, Decimal(amount)) for name, amount in found)
    expected = files.model.amounts()
    wrong = sorted(set(counting) ^ set(expected))
    assert counting == expected, f"amounts that count differ: {wrong[:5]}"
    cases = _cases(plant, files)
    assert cases.keys() == files.model.conflicts.keys(), "IDs with several contents"
    for name, payment in files.model.conflicts.items():
        told = cases[name]
        assert bool(told["open"]) == payment.open, (name, told, payment)
        assert len(told["versions"]) == len(payment.versions), (name, told, payment)
    sums = files.model.totals(STATUSES[-1])
    verification = {
        external_id: (int(payments), Decimal(str(totals.get("NGN", 0))))
        for external_id, payments, totals in plant.books.rows(
            "SELECT external_id, payments, CAST(totals, 'Map(String, String)') FROM verification"
            f" WHERE organization_id = '{files.organization_id}'"
        )
    }
    meters = [f"M{number}" for number in range(CONNECTED)]
    assert verification == {meter: sums.get(meter, (0, Decimal(0))) for meter in meters}


def _cases(plant: Plant, files: Files) -> dict[str, dict[str, Any]]:
    """The cases as the API lists them, by ID."""
    found: list[dict[str, Any]] = plant.pages(
        f"/v1/conflicts?organization_id={files.organization_id}&record_type=payment&limit=500"
    )
    assert len({case["record_id"] for case in found}) == len(found), "one case per ID"
    return {case["record_id"]: case for case in found}


def _decide(plant: Plant, payment: Payment, case: dict[str, Any], dice: random.Random) -> None:
    """Decide as a person does, and take it back sometimes; the model does the same."""
    path = f"/v1/conflicts/payment/{case['identity']}/decisions"
    before = (list(payment.counting), payment.known)
    decision = dice.choice(["keep_first", "take_new", "count_both"])
    plant.api.post(path, decision=decision)
    chosen = {"keep_first": payment.versions[:1], "take_new": payment.versions[-1:]}
    payment.decide(chosen.get(decision, payment.versions))
    if dice.random() < 0.5:
        plant.api.post(path, decision="undo")
        payment.counting, payment.known = before
