"""The reader of tables: any dialect and encoding gives the same rows, with exact line numbers."""

import codecs
import csv
import io
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.errors import FileRefused
from producers.tabular import MAX_RAW_CHARS, Table, TableRow, UnreadableRow, open_table
from producers.text_lines import MAX_LINE_CHARS
from schemas.fields import PROFILES
from schemas.outcomes import Code

HEADER = sorted(PROFILES["s3"])
WIDTH = len(HEADER)


class Trickle(io.BytesIO):
    """A source that gives a few bytes at a time, as networks do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(7, size or 7))


def read(data: bytes, profile: str = "s3") -> list[TableRow | UnreadableRow]:
    """All rows of a file."""
    return list(Table(io.BytesIO(data), profile))


def file(*lines: str, header: list[str] | None = None) -> bytes:
    """A comma-separated file of the header and some lines."""
    return "\n".join([",".join(header or HEADER), *lines, ""]).encode()


def cells(start: int = 0) -> list[str]:
    """Cells of a row that has a value everywhere."""
    return [f"v{start + at}" for at in range(WIDTH)]


GOOD = ",".join(cells())
GOOD_CELLS = dict(zip(HEADER, cells(), strict=True))


def refusal(data: bytes, profile: str = "s3") -> FileRefused:
    """The file-level error of a file."""
    with pytest.raises(FileRefused) as refused:
        Table(io.BytesIO(data), profile)
    return refused.value


_CELL = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=8
) | st.sampled_from(['a"b', '"', "x\ny", "a,b;c\td|e", "x\r\ny", " pad ", "é", "😀"])
_ROW = st.lists(_CELL, min_size=WIDTH, max_size=WIDTH).filter(lambda row: any(map(str.strip, row)))
_ROWS = st.lists(_ROW, max_size=6)


@given(
    rows=_ROWS,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    trailing=st.booleans(),
    last_end=st.booleans(),
)
def test_same_rows_in_every_dialect(
    rows: list[list[str]],
    delimiter: str,
    end: str,
    encoding: str,
    quoting: Any,
    trailing: bool,
    last_end: bool,
) -> None:
    """Whatever the delimiter, line end, quoting and encoding, the rows that come out are the same."""
    text = io.StringIO()
    # a writer leaves line feeds without quotes where they end no line
    quoting = csv.QUOTE_ALL if end == "\r" else quoting
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    starts = []
    for row in [HEADER, *rows]:
        starts.append(text.getvalue().count(end[-1]) + 1)
        writer.writerow([*row, ""] if trailing else row)
    written = text.getvalue() if last_end else text.getvalue().removesuffix(end)
    bom = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    table = Table(Trickle(bom + written.encode(encoding)), "s3")
    expected = [
        TableRow(line, {name: cell for name, cell in zip(HEADER, row, strict=True) if cell})
        for line, row in zip(starts[1:], rows, strict=True)
    ]
    assert list(table) == expected


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, with_header: bool) -> None:
    """No input makes the reader raise anything but its own errors, and lines only go up."""
    try:
        rows = list(Table(Trickle(file() + data if with_header else data), "s3"))
    except FileRefused:
        return
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))


@given(
    st.lists(st.sampled_from([GOOD, '"', 'a"b', '"a\nb",c', "1,2", "", ",,,", GOOD + ",", '"x']), max_size=12)
)
def test_good_lines_between_broken_ones_are_never_hidden(lines: list[str]) -> None:
    """Each line that is a row by itself comes out, unless it stands inside quotes that do match."""
    rows = read(file(*lines))
    assert all(row.cells for row in rows if isinstance(row, TableRow))
    if not any('"' in line for line in lines):
        good = [at for at, line in enumerate(lines, 2) if line.startswith("v0")]
        assert [row.line for row in rows if isinstance(row, TableRow)] == good


def test_lines_are_physical_and_survive_quoted_newlines() -> None:
    """The line of a row is where it begins, counted from 1 with the header."""
    quoted = '"two\nlines",' + ",".join(cells()[1:])
    rows = read(file(GOOD, quoted, "", GOOD))
    assert [row.line for row in rows] == [2, 3, 6]


def test_unmatched_quote_does_not_hide_the_rows_behind_it() -> None:
    """A stray quote costs its own row only."""
    rows = read(file('"stray,1,2', GOOD, GOOD))
    assert [type(row) for row in rows] == [UnreadableRow, TableRow, TableRow]
    assert [row.line for row in rows] == [2, 3, 4]


def test_two_stray_quotes_do_not_swallow_what_is_between() -> None:
    """Rows between two lines with a stray quote each come out."""
    rows = read(file('"stray,1', GOOD, GOOD, '2,"stray', GOOD))
    assert [row.line for row in rows if isinstance(row, TableRow)] == [3, 4, 6]
    assert [row.line for row in rows if isinstance(row, UnreadableRow)] == [2, 5]


def test_truncated_last_line() -> None:
    """A file that ends inside a quoted cell has that row unreadable, as one row."""
    rows = read(file(GOOD) + b'UC1,"a\nb\nc')
    assert [(type(row), row.line) for row in rows] == [(TableRow, 2), (UnreadableRow, 3)]
    assert isinstance(rows[1], UnreadableRow)
    assert rows[1].raw == 'UC1,"a\nb\nc'


def test_rows_of_another_length() -> None:
    """Too few or too many cells make a row unreadable; empty cells behind a trailing delimiter do not."""
    rows = read(file("1,2,3", GOOD + ",x", GOOD + ",", GOOD + ",,", GOOD))
    assert [(type(row), row.line) for row in rows] == [
        (UnreadableRow, 2),
        (UnreadableRow, 3),
        (TableRow, 4),
        (TableRow, 5),
        (TableRow, 6),
    ]
    assert isinstance(rows[0], UnreadableRow)
    assert rows[0].detail == f"3 cells, the header has {WIDTH}"


def test_bytes_that_are_no_text_cost_one_row() -> None:
    """A row in another encoding is unreadable, its neighbours are not; its bytes can be had back."""
    broken = GOOD.encode().replace(b"v0", b"caf\xe9")
    rows = read(file() + broken + b"\n" + file(GOOD)[len(file()) :])
    assert [type(row) for row in rows] == [UnreadableRow, TableRow]
    assert isinstance(rows[0], UnreadableRow)
    assert rows[0].raw.encode("utf-8", "surrogateescape") == broken + b"\n"


def test_half_a_character_at_the_end_of_utf16() -> None:
    """A UTF-16 file cut in the middle of a character has an unreadable last row."""
    rows = read((file().decode() + GOOD).encode("utf-16")[:-1])
    assert [type(row) for row in rows] == [UnreadableRow]


def test_nul_bytes_are_kept_for_the_validation() -> None:
    """A NUL in a cell is no reading error: the validation says in which field it is."""
    (row,) = read(file(GOOD.replace("v0", "a\0b")))
    assert isinstance(row, TableRow)
    assert row.cells[HEADER[0]] == "a\0b"


def test_empty_lines_and_lines_of_delimiters_are_no_rows() -> None:
    """Spreadsheets write such lines behind the last row."""
    assert [row.line for row in read(file("", GOOD, ",,,", "\r", ",,,,,,,,", GOOD))] == [3, 7]


def test_old_line_ends() -> None:
    """A file with carriage returns only is read too."""
    rows = read(file(GOOD, GOOD).replace(b"\n", b"\r"))
    assert [row.line for row in rows] == [2, 3]


def test_line_of_a_hundred_megabytes_does_not_exhaust_memory() -> None:
    """A huge line is one unreadable row, read in constant memory, and the row behind it comes out."""

    class Huge(io.RawIOBase):
        """Header, a line of 100 MB, a good row."""

        def __init__(self) -> None:
            self.parts = [file(), *[b"x" * 100_000] * 1000, b"\n" + GOOD.encode()]

        def read(self, size: int = -1, /) -> bytes:
            return self.parts.pop(0) if self.parts else b""

    tracemalloc.start()
    rows = list(Table(Huge(), "s3"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(type(row), row.line) for row in rows] == [(UnreadableRow, 2), (TableRow, 3)]
    assert isinstance(rows[0], UnreadableRow)
    assert rows[0].code is Code.TOO_LARGE
    assert len(rows[0].raw) == MAX_RAW_CHARS
    assert peak < 20_000_000


def test_quoted_cell_without_end_does_not_swallow_the_file() -> None:
    """A quote that never ends costs a bounded number of lines at most."""
    rows = read(file('"open', *["not a row"] * 1000, GOOD))
    assert isinstance(rows[0], UnreadableRow)
    assert rows[-1] == TableRow(1003, GOOD_CELLS)


def test_unknown_columns_go_to_custom() -> None:
    """Columns that the table of fields does not know are kept by name."""
    (row,) = read(file(GOOD + ",red", header=[*HEADER, "COLOUR"]))
    assert row == TableRow(2, {**GOOD_CELLS, "custom": {"COLOUR": "red"}})


def test_header_aliases() -> None:
    """The spellings of the file-upload document mean the same fields."""
    header = [name.replace("CUSTOMER_NAME", "CUSTOMER NAME") for name in HEADER]
    assert read(file(GOOD, header=header)) == [TableRow(2, GOOD_CELLS)]


def test_header_only_is_no_rows() -> None:
    """A file with a header and nothing else has 0 rows and no error."""
    assert read(file()) == []
    assert read(file().strip()) == []
    assert read(b"\n\r\n" + file(GOOD)) == [TableRow(4, GOOD_CELLS)]


@pytest.mark.parametrize("data", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b"\n\n", b"\r\n \n"])
def test_empty_files(data: bytes) -> None:
    """A file without a header is refused as empty."""
    assert refusal(data).code is Code.EMPTY_FILE


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04rest", file().decode().encode("utf-16-le"), b"caf\xe9," + file()]
)
def test_files_that_are_no_text(data: bytes) -> None:
    """A workbook, UTF-16 without its mark and another encoding in the header are refused as such."""
    assert refusal(data).code is Code.BAD_ENCODING


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("METER_ID", "meter_id"), "column {at}: found 'meter_id', expected 'METER_ID'"),
        (("METER_ID", " METER_ID"), "column {at}: found ' METER_ID', expected 'METER_ID'"),
        (("METER_ID", "Meter Id"), "found 'Meter Id', expected 'METER_ID'"),
        (("METER_ID", "METERID"), "found 'METERID', expected 'METER_ID'"),
        (("METER_ID", "METER_IDD"), "column 'METER_ID' is missing (nearest found: 'METER_IDD')"),
        (("METER_ID", "SERIAL"), "column 'METER_ID' is missing"),
        (("METER_ID", "ID"), "columns {id} and {at} have the same name 'ID'"),
        (("METER_ID", ""), "column {at} has no name"),
        (("METER_ID", "x" * 300), "column {at}: the name has 300 characters; at most 256"),
    ],
)
def test_header_errors_say_what_was_found_and_what_is_expected(change: tuple[str, str], said: str) -> None:
    """Each wrong column is named with its place, what stands there and what should."""
    header = [change[1] if name == change[0] else name for name in HEADER]
    error = refusal(file(header=header))
    assert error.code is Code.BAD_HEADER
    at, first = HEADER.index(change[0]) + 1, HEADER.index("ID") + 1
    assert said.format(at=at, id=first) in error.detail


def test_all_faults_of_a_header_are_told_at_once() -> None:
    """One look at the report is enough to correct the file."""
    detail = refusal(b"id,Timestamp,METER_ID,METER_ID\n").detail
    assert "found 'id'" in detail
    assert "found 'Timestamp'" in detail
    assert "columns 3 and 4" in detail
    assert "'PAYMENT_AMOUNT' is missing" in detail


def test_file_without_header_does_not_leak_its_first_row() -> None:
    """What stands in place of a header may be personal; nothing of it is repeated."""
    detail = refusal(b"UC1,2021-05-16T14:16:01,John Doe,+2344567890\n").detail
    assert "John" not in detail
    assert "234" not in detail


def test_a_title_above_the_header_is_told() -> None:
    """A first line that names no field is said to be no header, before what it lacks."""
    for first in ("Payments of May", "sep=;"):
        refused = refusal(first.encode() + b"\n" + file(GOOD))
        said = "line 1: the first line that is not empty must be the header; none of its 1 cells"
        assert refused.detail.startswith(said)


def test_too_many_columns() -> None:
    """A header with hundreds of columns, or a first line without end, is refused."""
    assert "columns" in refusal(file(header=[*HEADER, *map(str, range(300))])).detail
    assert refusal(b",".join([b"A"] * 100_000)).code is Code.BAD_HEADER
    assert refusal(b"x" * (MAX_LINE_CHARS + 10)).code is Code.BAD_HEADER


def test_one_column() -> None:
    """A file of one column is told what it lacks."""
    assert "'ID' is missing" in refusal(b"METER_ID\n1\n").detail


def test_profiles_require_different_columns() -> None:
    """What a profile does not require may be absent."""
    header = sorted(PROFILES["upload"])
    assert read(file(header=header), "upload") == []
    with pytest.raises(FileRefused):
        read(file(header=header), "s3")


def test_rows_with_open_quotes_are_each_a_row() -> None:
    """A quote too many in every row, or rows that are a cell short behind one: no row hides another."""
    open_quotes = [",".join([*cells()[:-1], f'"note {at}']) for at in range(40)]
    rows = read(file(*open_quotes))
    assert [row.line for row in rows] == list(range(2, 42))
    short = ",".join(cells()[:-1])
    rows = read(file('"open,' + short, *[short] * 30, GOOD))
    assert [row.line for row in rows] == list(range(2, 34))
    assert isinstance(rows[-1], TableRow)


def test_rows_of_spaces_are_no_rows() -> None:
    """As in a sheet: nothing was written there."""
    assert [row.line for row in read(file(" , ,  ", GOOD, "   "))] == [3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_both_ways_to_open_a_file_read_the_same(encoding: str, end: str) -> None:
    """An upload is looked at for a workbook first; its line ends and its encoding are found all the same."""
    data = file(GOOD, GOOD).decode().replace("\n", end).encode(encoding)
    assert list(open_table(lambda: Trickle(data), "s3")[0]) == read(data)
    assert len(read(data)) == 2


def test_titles_stand_above_the_header_of_an_exported_sheet() -> None:
    """As in the sheet itself: CSV with empty rows between, quotes or none; lines stay those of the file."""
    titles = ['"Payments of\nSite Name"', ",,,", "", "by: Jane, ID"]
    data = "\n".join([*titles, ",".join(HEADER), GOOD, "", GOOD]).encode()
    table, close = open_table(lambda: io.BytesIO(data), "sheet")
    assert [(row.line, row.cells) for row in table if isinstance(row, TableRow)] == [
        (7, GOOD_CELLS), (9, GOOD_CELLS)
    ]  # fmt: skip
    close()
    with pytest.raises(FileRefused, match=r"^line 1: the first line that is not empty must be the header"):
        open_table(lambda: io.BytesIO(data), "upload")
    below = b"title\n" * 20 + file(GOOD)
    with pytest.raises(FileRefused, match="none of the first 20 rows"):
        open_table(lambda: io.BytesIO(below), "sheet")


def test_a_file_of_empty_lines_costs_no_memory_where_titles_may_stand() -> None:
    """The header is looked for at the beginning: what is behind is not held."""
    data = b"\n" * 500_000 + b"title\n" + b"\n" * 500_000
    tracemalloc.start()
    try:
        with pytest.raises(FileRefused, match="none of the first 1 rows"):
            open_table(lambda: io.BytesIO(data), "sheet")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000


@pytest.mark.parametrize("place", [0, 4, WIDTH - 1])
@pytest.mark.parametrize("between", [0, 1, 5, 150])
def test_rows_between_two_stray_quotes_come_out(place: int, between: int) -> None:
    """A quoted text that holds rows is none: both lines are named, and what stands between them is read."""
    opened, closed = cells(), cells()
    opened[place] = '"stray'
    closed[place] = 'stray"'
    rows = read(file(GOOD, ",".join(opened), *[GOOD] * between, ",".join(closed), GOOD))
    assert [row.line for row in rows] == list(range(2, 5 + between + 1))
    bad = [row for row in rows if isinstance(row, UnreadableRow)]
    assert [row.line for row in bad] == [3]
    assert bad[0].detail.startswith(f"a quoted text from line 3 to line {4 + between} holds lines that are")


@given(st.data())
def test_stray_quotes_hide_no_other_row(data: st.DataObject) -> None:
    """Wherever they stand, in however many rows: each row without one comes out, no cell has two lines."""
    rows = [[f"r{at}c{column}" for column in range(WIDTH)] for at in range(data.draw(st.integers(2, 9)))]
    struck = data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=4))
    for at in struck:
        column, place = data.draw(st.integers(0, WIDTH - 1)), data.draw(st.sampled_from([0, 2, 4]))
        cell = rows[at][column]
        rows[at][column] = f'{cell[:place]}"{cell[place:]}'
    found = [row for row in read(file(*map(",".join, rows))) if isinstance(row, TableRow)]
    assert {row.line - 2 for row in found} >= {*range(len(rows))} - struck
    assert not any("\n" in cell for row in found for cell in row.cells.values())


@given(
    st.lists(st.text("ab ,.", max_size=8).filter(lambda line: line.count(",") < 3), min_size=2, max_size=5),
    st.integers(0, WIDTH - 1),
)
def test_a_note_of_several_lines_is_one_cell(lines: list[str], place: int) -> None:
    """With commas in its lines, in whichever column it stands."""
    row = cells()
    row[place] = "\n".join(["note", *lines, "end"])
    text = io.StringIO()
    csv.writer(text).writerow(row)
    (found,) = read(file() + text.getvalue().encode())
    assert found == TableRow(2, dict(zip(HEADER, row, strict=True)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("note", ["a\nb", "a\r\nb\nc\nd\ne"])
def test_line_feeds_in_quotes_of_a_file_with_carriage_returns(encoding: str, note: str) -> None:
    """The line ends are those outside the quotes."""
    data = "\r".join([",".join(HEADER), f'"{note}",' + ",".join(cells()[1:]), GOOD, ""]).encode(encoding)
    first, second = read(data)
    assert isinstance(first, TableRow)
    assert first.cells[HEADER[0]] == note
    assert second == TableRow(2 + 1 + note.count("\r"), GOOD_CELLS)


def test_a_carriage_return_in_a_cell_without_quotes_is_told() -> None:
    """It costs its row, with the reason, and no other one."""
    rows = read(file(GOOD, GOOD.replace("v3", "v\r3"), GOOD))
    assert [type(row) for row in rows] == [TableRow, UnreadableRow, TableRow]
    assert isinstance(rows[1], UnreadableRow)
    assert (rows[1].line, rows[1].detail) == (3, "a carriage return stands in a cell without quotes")


@given(
    lines=st.lists(
        st.lists(st.sampled_from([GOOD, '"', "a", ",", "\n", "\r", "\r\n", " ", "é"]), max_size=4).map(
            "".join
        ),
        max_size=6,
    ),
    end=st.sampled_from(["\r", "\n", "\r\n"]),
)
def test_line_ends_of_any_kind_are_read_alike_in_any_pieces(lines: list[str], end: str) -> None:
    """Where they should not be, too: nothing but rows and their faults, whatever arrives together."""
    data = end.join([",".join(HEADER), GOOD, *lines]).encode()
    rows = read(data)
    assert rows == list(Table(Trickle(data), "s3"))
    assert sorted({row.line for row in rows}) == [row.line for row in rows]
