"""The sample: a small programme with every kind of trouble that real files bring.

Deterministic, so that the demo's numbers can be checked by a test.
"""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any, Final

HEADER: Final = (
    "ID",
    "TIMESTAMP",
    "PAYMENT_AMOUNT",
    "PAYMENT_CURRENCY",
    "TRANSACTION_TYPE",
    "REFERENCE_ID",
    "CUSTOMER_ID",
    "METER_ID",
    "CUSTOMER_NAME",
    "CUSTOMER_PHONE",
    "STATUS",
    "NOTES",
)
"""Fields of the seed payments-s3 that the sample uses."""

CONNECTIONS: Final = 40
LATE_CONNECTIONS: Final = range(36, 40)
"""Connections that are registered only after their payments have arrived."""
DEVICES: Final = 8
READS_PER_DEVICE: Final = 24
PAYMENT_ROWS: Final = 91 + 90
"""Rows of the two files, the truncated one included."""
SILENT_CONNECTION: Final = CONNECTIONS
"""A connection that never pays: the one that is not verified."""
READ_ROWS: Final = DEVICES * (READS_PER_DEVICE + 5)
FIRST_PAYMENT: Final = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
FIRST_READ: Final = datetime(2026, 5, 1, tzinfo=UTC)

Row = dict[str, str]


def meter(number: int) -> str:
    """External id of a connection, as the payments name it in METER_ID; leading zeros are part of it."""
    return f"00{4700 + number}"


def device(number: int) -> str:
    """External id of a device; it stands at the connection of the same number."""
    return meter(number)


def _payment(number: int, connection: int, **changes: str) -> Row:
    moment = FIRST_PAYMENT + timedelta(hours=7 * number)
    row = {
        "ID": f"UC{45000 + number}",
        "TIMESTAMP": moment.strftime("%Y-%m-%dT%H:%M:%S"),
        "PAYMENT_AMOUNT": str(1500 + 250 * (number % 9)),
        "PAYMENT_CURRENCY": "Naira",
        "TRANSACTION_TYPE": "INSTALLMENT_PAYMENT",
        "REFERENCE_ID": f"R{number}",
        "CUSTOMER_ID": str(9000 + connection),
        "METER_ID": meter(connection),
        "CUSTOMER_NAME": f"Adaeze Okafor {connection}",
        "CUSTOMER_PHONE": f"+234803555{connection:04d}",
        "STATUS": "processed",
        "NOTES": "",
    }
    return {**row, **changes}


def first_file() -> str:
    """Monday's file: two payments for each connection, and rows that cannot be accepted."""
    rows = [_payment(number, number % CONNECTIONS) for number in range(2 * CONNECTIONS)]
    rows += [
        _payment(100, 0, PAYMENT_AMOUNT="1 000,50"),  # no decimal
        _payment(101, 1, TIMESTAMP="2026-05-16T24:00:00"),  # no time of day
        _payment(102, 2, PAYMENT_CURRENCY="CFA"),  # of West or of Central Africa?
        _payment(103, 3, METER_ID="N/A"),  # a placeholder is a missing value
        _payment(104, 4, CUSTOMER_PHONE="2.34567E+11"),  # a spreadsheet ate the number
        _payment(105, 5, TRANSACTION_TYPE="GIFT"),
        _payment(106, 6, PAYMENT_AMOUNT="∞"),
        _payment(107, 7, NOTES="two lines,\none payment"),  # good: a quoted newline
        _payment(108, 8, TRANSACTION_TYPE="reversal", PAYMENT_AMOUNT="-1750", REFERENCE_ID="R9"),  # good
        _payment(109, 999),  # good, but no such connection
    ]
    return _csv(rows) + '"UC45110","2026-06-01T08:00:00","1500"\r\n'  # too few cells


def second_file() -> str:
    """Tuesday's file: Monday's rows again, some of them changed, and a few new ones."""
    rows = [_payment(number, number % CONNECTIONS) for number in range(2 * CONNECTIONS)]
    rows[10] = _payment(10, 10, STATUS="reversed")  # only STATUS: the rule takes the new version
    rows[11] = _payment(11, 11, PAYMENT_AMOUNT="999")  # same ID, another amount: somebody must decide
    rows[12] = _payment(12, 12, TIMESTAMP="2026-05-04T20:00:00Z")  # the same moment in another form
    rows += [_payment(number, number % CONNECTIONS) for number in range(120, 130)]
    return _csv(rows)


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, quoting=csv.QUOTE_MINIMAL)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def reads(number: int) -> list[dict[str, Any]]:
    """One request body of a device: a day of hours, two sent again, one changed and two that cannot be."""
    start = FIRST_READ + timedelta(days=number)
    hours = [_read(start, hour) for hour in range(READS_PER_DEVICE)]
    bad = [_read(start, 3) | {"endtimestamp": start.isoformat()}, _read(start, 4) | {"value": "much"}]
    changed = hours[7] | {"value": 1.0}
    return [*hours, hours[0], hours[5], changed, *bad]


def _read(start: datetime, hour: int) -> dict[str, Any]:
    begin = start + timedelta(hours=hour)
    return {
        "starttimestamp": begin.isoformat(),
        "endtimestamp": (begin + timedelta(hours=1)).isoformat(),
        "value": 120.5 + hour,
    }
