"""Names and telephone numbers of a row are nowhere but in the topic its sender wrote to."""

import json
from typing import Any

from sunledger.embedded.stack import Stack
from tests.faults.world import World, alive
from tests.support.workers import payment, read, wait_until

NAME, PHONE = "Zaphyra Quillfeather", "+2348099912345"
AGENT, NOTES, LOCATION = "Orvillionagent", "call Wibblestone at home", "12 Crimsonvale Road"
TRACES = ("zaphyra", "quillfeather", "8099912345", "orvillionagent", "wibblestone", "crimsonvale")
"""Parts by which any of the values would be recognised."""
PERSONAL = {
    "CUSTOMER_NAME": NAME,
    "CUSTOMER_PHONE": PHONE,
    "AGENT_ID": AGENT,
    "NOTES": NOTES,
    "LOCATION": LOCATION,
}


def _person(number: int, **changes: Any) -> dict[str, Any]:
    return payment(number, **{**PERSONAL, **changes})


def _rows() -> list[dict[str, Any] | bytes]:
    """Good, changed and bad rows that all hold the same person."""
    whole = json.dumps(_person(60)).encode()
    return [
        *[_person(number) for number in range(20)],
        _person(1),
        _person(2, PAYMENT_AMOUNT="17"),
        _person(2, PAYMENT_AMOUNT="18", CUSTOMER_NAME=NAME.upper()),
        _person(3, NOTES=f"{NOTES} again"),
        # personal columns by other names, at the top and among the unknown ones
        payment(30, **{"Customer Name": NAME, "customer phone": PHONE, "Agent-Id": AGENT, "notes ": NOTES}),
        payment(
            31,
            custom={"customer_name": NAME, "CUSTOMER PHONE": PHONE, "agent id": AGENT, "Location": LOCATION},
        ),
        payment(32, CUSTOMER_NAME=None, **{"CUSTOMER NAME": NAME}),
        # bad for another reason, and bad in the personal field itself
        _person(40, PAYMENT_AMOUNT="much"),
        _person(41, ID=None),
        _person(42, TIMESTAMP="then", CUSTOMER_CATEGORY="\u0000"),
        _person(43, CUSTOMER_NAME={"first": NAME}),
        _person(44, CUSTOMER_PHONE=[PHONE]),
        _person(45, CUSTOMER_PHONE=2348099912345.0),
        _person(46, CUSTOMER_PHONE=f"{PHONE} of {NAME}"),
        _person(47, NOTES=[NOTES] * 3, LOCATION={"road": LOCATION}),
        _person(48, NOTES=NOTES * 5000),
        _person(49, CUSTOMER_NAME=f"{NAME}\u0000"),
        _person(50, custom={"Customer Name": [NAME]}),
        _person(51, custom=NAME),
        _person(52, custom=[PHONE]),
        # no JSON
        whole[:-1],
        whole[:-1] + b"\xff}",
        whole + whole,
        b"[" + whole + b"]",
        json.dumps(NAME).encode(),
        f"{NAME};{PHONE};{NOTES}".encode(),
    ]


def test_no_personal_data_anywhere(own_stack: Stack, doomed: World) -> None:
    """Logs, metrics, reasons, the quarantine topic and every column of the database hold none of it."""
    organization = doomed.sender.organization()
    doomed.sender.device(organization, "D1")
    workers = [doomed.start(wait=False, log_level="debug") for _ in range(2)]
    for worker in workers:
        worker.wait_ready()
    doomed.sender.payments(_rows(), organization)
    doomed.sender.reads([{**read("D1", 1), **PERSONAL}, {**read("D1", 2), "value": NAME}], organization)
    doomed.sender.payments(_rows(), "org_of_nobody", dataset_id="ds_of_nobody")
    wait_until(lambda: doomed.books.value("SELECT count() FROM payments") >= 20, 60, "payments stored")
    own_stack.kill("clickhouse")
    late = [_person(number, STATUS="late") for number in range(100, 150)]
    doomed.sender.payments([*late, *_rows()], organization)
    wait_until(lambda: "store_retry" in doomed.logs(), 60, "an insert that failed")
    workers[0].kill()
    own_stack.start("clickhouse")
    workers[0] = doomed.start(log_level="debug")
    doomed.wait_drained(["payments", "reads"])
    assert alive(*workers)
    doomed.books.check("payments")
    assert doomed.books.outcomes().keys() == {"accepted", "conflict", "duplicate", "quarantined"}

    assert _found(doomed.logs()) == []
    for worker in workers:
        assert _found(worker.metrics()) == []
    notices = doomed.books.records("quarantine")
    assert notices
    for notice in notices:
        assert _found(repr((notice.value, notice.headers))) == []
    assert _columns_with(doomed, "PERSON_NOT_HERE") == []
    # the search itself finds what is there: each of these payments names its meter
    assert ("payment_versions", "meter_id") in _columns_with(doomed, "M30")
    for trace in TRACES:
        assert _columns_with(doomed, trace) == []


def _found(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text.lower()]


def _columns_with(world: World, text: str) -> list[tuple[str, str]]:
    """Every column of every table and view that holds this text anywhere."""
    columns: dict[str, list[str]] = {}
    for table, column in world.books.rows(
        f"SELECT table, name FROM system.columns WHERE database = '{world.database}' ORDER BY table, position"
    ):
        columns.setdefault(table, []).append(column)
    assert {"payments", "ledger", "quarantine", "conflicts", "payment_versions"} <= columns.keys()
    found = []
    for table, names in columns.items():
        counts = ", ".join(f"countIf(positionCaseInsensitive(toString(`{n}`), '{text}') > 0)" for n in names)
        hits = world.books.rows(f"SELECT {counts} FROM `{table}`")[0]
        found += [(table, name) for name, hit in zip(names, hits, strict=True) if int(hit)]
    return found
