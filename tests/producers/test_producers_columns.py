"""Rows go column by column into the same records as one by one."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from producers.group import Record
from producers.rows import Origin, RowRecords
from producers.table_rows import ColumnRows, Row
from producers.tabular import Table
from schemas import headers
from schemas.fields import PROFILES
from schemas.personal import Pseudonymizer, Sealer

OWN = ["ID", "CUSTOMER_NAME", "CUSTOMER_PHONE", "METER_ID", "STATUS", "NOTES", "PAYMENT_AMOUNT"]
UNKNOWN = ["COLOUR", 'SITE "B"', "owner phone", "ACCOUNT"]
HEADER = [*OWN, *sorted(PROFILES["s3"] - {*OWN}), *UNKNOWN]
FREE = len(OWN)
SEALER = Sealer(b"s" * 32)
ORIGIN = Origin("org_1", "dts_1", "crm", "s3", "s3://b/f@1", datetime(2026, 5, 1, tzinfo=UTC), 3)
PARTITIONS = 4

_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=8)
_EMPTY = ["", "N/A", "-", "null"]
_AWKWARD = [
    " pad ",
    'a"b',
    '"',
    "\\",
    "\\n",
    "x\ny",
    "\t",
    "\x01",
    "\x00,",
    "é",
    "😀",
    "\u2028",
    ',"ID":""',
    "{,",
    "a,b;c",
]
_NUMBERS = ["1,5", "1.5", "2.34567E+11", "12\n345678901", "\x1f123456789", "2026-05-01"]
_PERSONAL = ["+234 801 234 5678", "08012345678", "a@b.c", "!fault:bad_phone", "f" * 64, "x" * 300]
_ODD = st.sampled_from(["a", "TX-1", *_EMPTY, *_AWKWARD, *_NUMBERS, *_PERSONAL])
_CELL = _ODD | _TEXT
_ROW = st.tuples(*[_CELL] * FREE, *[st.sampled_from(["v", "7", ""])] * (len(HEADER) - FREE - 4), *[_CELL] * 4)


def records() -> RowRecords:
    """A maker of records that remembers nobody."""
    return RowRecords("payments", Pseudonymizer(b"p" * 32), SEALER)


def told(record: Record) -> dict[str, Any]:
    """What a record says: its value and its seal are another text each time."""
    extra = dict(record.headers)
    sealed = extra.pop(headers.SEALED, None)
    opened = None if sealed is None else SEALER.open("org_1", sealed.decode())
    names = [name for name, _ in record.headers]
    assert len(names) == len(set(names))
    return {
        "place": (record.topic, record.key, record.partition),
        "value": json.loads(record.value),
        "headers": extra,
        "sealed": json.loads(opened) if opened and opened.startswith(b"{") else opened,
    }


def batches(data: bytes) -> list[Sequence[Row]]:
    """The batches of a file, small ones, so that what the first ones teach is used in later ones."""
    found: list[Sequence[Row]] = []
    for rows in Table(io.BytesIO(data), "s3", lambda: io.BytesIO(data)).batches():
        found += [rows[at : at + 2] for at in range(0, len(rows), 2)]
    return found


@given(
    rows=st.lists(_ROW, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_columns_give_the_records_of_rows(
    rows: list[tuple[str, ...]], delimiter: str, end: str, quoting: Any, encoding: str
) -> None:
    """Whatever stands in a table and however it is written: same keys, places, values, headers and seals."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([HEADER, *rows, *rows])
    quick = records()
    for batch in batches(text.getvalue().encode(encoding)):
        fast = list(quick.of(ORIGIN, batch, PARTITIONS))
        slow = list(records().of(ORIGIN, list(batch), PARTITIONS))
        assert [told(record) for record in fast] == [told(record) for record in slow]


def file(*rows: dict[str, str], header: Sequence[str] = HEADER) -> bytes:
    """A file of some cells by column."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header, restval="v")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def test_rows_of_a_file_come_in_columns() -> None:
    """The fast way is taken: with unknown columns, quotes and empty cells too."""
    found = batches(file({"NOTES": 'said "no"', "ACCOUNT": ""}, {"ID": "", "NOTES": "a\nb"}))
    assert [type(rows) for rows in found] == [ColumnRows]


def test_a_row_that_fits_no_record_is_told_and_hides_no_other() -> None:
    """A text that grows beyond a record when it is written becomes a row that is too large."""
    data = file({"ID": "1"}, {"ID": "2", "STATUS": "\x01" * 120_000, "NOTES": "\x01" * 8_000}, {"ID": "3"})
    (first, second), (third,) = [list(records().of(ORIGIN, rows, PARTITIONS)) for rows in batches(data)]
    assert [json.loads(record.value)["ID"] for record in (first, second, third)] == ["1", "2", "3"]
    data = file({"ID": "1"}, {"ID": "2", "NOTES": "\x01" * 124_000}, {"ID": "3"})
    (first, second), (third,) = [list(records().of(ORIGIN, rows, PARTITIONS)) for rows in batches(data)]
    assert dict(second.headers)[headers.UNREADABLE] == b"too_large"
    assert [told(record)["value"].get("ID") for record in (first, second, third)] == ["1", None, "3"]


def test_nothing_personal_is_in_a_record_in_plain() -> None:
    """An unknown column is replaced from the first text on that looks personal, and stays so."""
    rows = [
        {"ID": str(at), "COLOUR": text} for at, text in enumerate(["red", "a", "08012345678", "red", "a@b.c"])
    ]
    found = [record for batch in batches(file(*rows)) for record in records().of(ORIGIN, batch, PARTITIONS)]
    colours = [json.loads(record.value)["custom"]["COLOUR"] for record in found]
    assert [len(text) for text in colours] == [3, 1, 64, 3, 64]
    assert not any(b"08012345678" in record.value or b"a@b.c" in record.value for record in found)
