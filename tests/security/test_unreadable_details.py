"""What a reader says of a row that it could not read: told where analysts look, with nothing of the row."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import xlsxwriter

from api.payments.body import parse
from producers.pull_rows import row_batches
from producers.rows import Origin, RowRecords
from producers.sheet_rows import open_sheet
from producers.table_rows import UnreadableRow
from producers.tabular import open_table
from schemas import headers
from schemas.fields import PROFILES
from schemas.outcomes import Code
from schemas.personal import Pseudonymizer, Sealer
from tests.conftest import ClickHouse
from tests.streams.world import ORG, SECRET, World

NAME, PHONE = "Zaphyra Quillfeather", "+2348099912345"
HEADER = sorted(PROFILES["s3"])
ORIGIN = Origin(ORG, "", "", "upload", "upload://f", datetime.now(UTC))
FULL = [f"{NAME} {PHONE}"] * len(HEADER)


def of_file() -> list[object]:
    """Too few and too many cells, quotes, bytes that are no text, a row without end."""
    rows = [f"{NAME},{PHONE}", ",".join([*FULL, PHONE]), f'"{NAME},x', f'{PHONE}"{NAME}" {NAME},"x"y']
    data = "\n".join([",".join(HEADER), *rows, f"{NAME} \udcff".join(HEADER), NAME * 20_000, ""])
    return list(open_table(lambda: io.BytesIO(data.encode(errors="surrogateescape")), "s3")[0])


def of_workbook() -> list[object]:
    """A formula's error, a cell too many, an id that lost digits."""
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True})
    sheet = book.add_worksheet(NAME)
    sheet.write_row(0, 0, HEADER)
    for at in (1, 2, 3):
        sheet.write_row(at, 0, FULL)
    sheet.write_formula(1, 4, f'="{NAME}"/0', None, "#DIV/0!")
    sheet.write(2, len(HEADER), NAME)
    sheet.write(3, HEADER.index("ID"), 2348099912345678901)
    book.close()
    return list(open_table(lambda: io.BytesIO(data.getvalue()), "s3")[0])


def of_sheet() -> list[object]:
    """The same over the Sheets API."""
    lost = [2348099912345678901 if name == "ID" else PHONE for name in HEADER]
    rows: list[list[object]] = [[*HEADER], [*FULL[1:], "#N/A"], [*FULL, NAME], lost]
    window = lambda: iter([(1, rows)])  # noqa: E731
    return list(open_sheet(window, window, "s3"))


def of_pull() -> list[object]:
    """No object, a member twice, half a letter, too deep."""
    deep = f'{{"{NAME}":' * 300 + "1" + "}" * 300
    items = [f'"{NAME}"', f'{{"{NAME}":1,"{NAME}":2}}', f'{{"{NAME}":"{PHONE}\\ud83d"}}', f'{{"x":{deep}}}']
    body = f'{{"payments":[{",".join(items)}],"errors":""}}'.encode()
    return [row for batch in row_batches(io.BytesIO(body)) for row in batch]


def of_request() -> list[object]:
    """No object, NaN, half a letter."""
    items = [json.dumps(NAME), f'{{"{NAME}": NaN}}', f'{{"{NAME}": "{PHONE}\\udead"}}']
    return list(parse(f'{{"payments": [{",".join(items)}]}}'.encode(), 10).rows)


def given_up() -> Iterator[UnreadableRow]:
    """Rows that each reader gave up, for each of its reasons."""
    for reader, least in ((of_file, 5), (of_workbook, 3), (of_sheet, 3), (of_pull, 3), (of_request, 3)):
        rows = [row for row in reader() if isinstance(row, UnreadableRow)]
        assert len(rows) >= least, reader.__name__
        yield from rows


def test_no_reader_says_anything_of_a_row_and_what_it_says_is_kept(clickhouse: ClickHouse) -> None:
    """Why in words, in the quarantine that analysts read, for every reader and reason; no value of it."""
    rows = [UnreadableRow(line, row.raw, row.code, row.detail) for line, row in enumerate(given_up(), 1)]
    world = World(clickhouse).restore()
    records = RowRecords("payments", Pseudonymizer(SECRET), Sealer(SECRET))
    for offset, record in enumerate(records.of(ORIGIN, rows, 1)):
        world.turn(world.received(record, offset))
    kept = clickhouse.rows("SELECT line, details FROM quarantine ORDER BY line")
    assert kept == [(row.line, row.detail) for row in rows]
    for row in rows:
        assert row.detail
        for secret in (*NAME.split(), PHONE[1:8]):
            assert secret not in row.detail


@pytest.mark.parametrize(
    "said",
    [
        NAME.encode(),
        b":" + NAME.encode(),
        b"\xff",
        Sealer(SECRET).sign("org_b", NAME),
        Sealer(b"another secret of 32 bytes ......").sign(ORG, NAME),
        Sealer(SECRET).sign(ORG, "x") + NAME.encode(),
    ],
)
def test_what_anybody_else_says_is_not_repeated(clickhouse: ClickHouse, said: bytes) -> None:
    """A direct publisher may set any header: his words do not come before analysts as ours."""
    world = World(clickhouse).restore()
    records = RowRecords("payments", Pseudonymizer(SECRET), Sealer(SECRET))
    (record,) = records.of(ORIGIN, [UnreadableRow(1, "raw", Code.UNREADABLE_ROW, "ours")], 1)
    given = [(name, said if name == headers.UNREADABLE_DETAIL else value) for name, value in record.headers]
    world.turn(world.received(record._replace(headers=given), 0))
    assert clickhouse.rows("SELECT details, reasons FROM quarantine") == [("", ["unreadable_row"])]
