"""The dry run: the verdict that the pipeline gives, without the pipeline."""

import csv
import io
import itertools
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from producers.dry_rows import LineError, Terms
from producers.dry_run import DryRun, Report
from producers.header import Header
from producers.rows import Origin, RowRecords
from producers.table_rows import ColumnRows, Remark, Row, TableRow
from producers.tabular import Table
from schemas.fields import MAX_CELL
from schemas.outcomes import Outcome
from schemas.payments import PaymentContext
from schemas.personal import Pseudonymizer, Sealer
from tests.conftest import ClickHouse
from tests.streams.made import batch_of, record
from tests.streams.world import ORG, SECRET, World, register

NAMES = (
    "ID", "TIMESTAMP", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "TRANSACTION_TYPE", "CUSTOMER_ID", "METER_ID",
    "CUSTOMER_NAME", "CUSTOMER_PHONE", "STATUS", "NOTES", "Extra",
)  # fmt: skip
GOOD = (
    "UC1", "2021-05-16T14:16:01", "5000", "Naira", "FULL_PAYMENT", "C1", "M1", "John", "+23480", "", "", ""
)  # fmt: skip
S3 = Terms(PaymentContext("s3"), ORG)


def line(**changes: str) -> list[str]:
    """Cells of a good row with some changed."""
    return list({**dict(zip(NAMES, GOOD, strict=True)), **changes}.values())


def file(*rows: Sequence[str], header: Sequence[str] = NAMES) -> bytes:
    """A file of these rows."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def rows_of(data: bytes, profile: str = "s3") -> Iterator[Sequence[Row]]:
    """The rows of a file; the header is looked at with the first ones."""
    yield from Table(io.BytesIO(data), profile, lambda: io.BytesIO(data)).batches()


def check(data: bytes, terms: Terms = S3, **options: Any) -> Report:
    """The report on a file."""
    with DryRun("f.csv", terms, Pseudonymizer(SECRET), **options) as run:
        return run.read(rows_of(data, terms.context.profile))


def outcomes(report: Report) -> dict[str, int]:
    """Outcomes that any row has."""
    return {outcome.value: count for outcome, count in report.outcomes.items() if count}


class Pipeline:
    """The worker's steps over a real store; the rows of each file are judged in a namespace of their own."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._store = clickhouse
        self._world = World(clickhouse).restore()
        self._next = 0
        self._records = RowRecords("payments", Pseudonymizer(SECRET), Sealer(SECRET))

    def judged(self, rows: Sequence[Row], namespace: str, turn: int) -> dict[int, str]:
        """The outcome of each line, judged `turn` rows at a time."""
        dataset = f"ds_{namespace}"
        register(
            self._world.registry, "datasets",
            {"id": dataset, "id_namespace": namespace, "project_ids": ["p"]},
        )  # fmt: skip
        origin = Origin(ORG, dataset, namespace, "s3", f"s3://b/{namespace}", datetime.now(UTC))
        made = list(self._records.of(origin, rows, 1))
        for begin in range(0, len(made), turn):
            records = [
                record(self._next + at, one.value, one.headers)
                for at, one in enumerate(made[begin : begin + turn])
            ]
            self._world.turn(batch_of(records, "payments"))
            self._next += len(records)
        found = self._store.rows(
            "SELECT line, outcome FROM ledger WHERE dataset_id = {dataset:String}", dataset=dataset
        )
        return {int(str(number)): str(outcome) for number, outcome in found}


numbers = itertools.count(1)
_CELLS = {
    "ID": st.sampled_from(["A", "A", "A", "B", " A ", "N/A", ""]),
    "PAYMENT_AMOUNT": st.sampled_from(["5", "5", "5.00", "7", "1,234"]),
    "PAYMENT_CURRENCY": st.sampled_from(["NGN", "Naira", "naira", "KES", "CFA"]),
    "STATUS": st.sampled_from(["", "", "paid", "reversed"]),
    "TRANSACTION_TYPE": st.sampled_from(["FULL_PAYMENT", "full payment", "REVERSAL", "x"]),
    "CUSTOMER_NAME": st.sampled_from(["John Doe", "Jane", ""]),
    "CUSTOMER_PHONE": st.sampled_from(["+23480", "2.34567E+11"]),
    "NOTES": st.sampled_from(["", "", "call", "x\ny"]),
    "Extra": st.sampled_from(["", "a", "b", "+234 803 123 4567"]),
}
_ONE_OF_EACH = [line(ID="A"), line(ID="A"), line(ID="A", PAYMENT_AMOUNT="7"), line(ID="N/A")]
_LINE = st.fixed_dictionaries(_CELLS).map(lambda changes: line(**changes))


def test_the_dry_run_says_what_the_pipeline_stores(clickhouse: ClickHouse) -> None:
    """For any rows, in any batches: the outcome of every line is that of the ledger afterwards."""
    pipeline = Pipeline(clickhouse)
    met: Counter[str] = Counter()

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @example(_ONE_OF_EACH, 3, 5)
    @given(st.lists(_LINE, min_size=1, max_size=12), st.sampled_from([3, 12]), st.integers(1, 12))
    def holds(rows: list[list[str]], turn: int, batch: int) -> None:
        namespace = f"n{next(numbers)}"
        data = file(*rows)
        table = list(Table(io.BytesIO(data), "s3"))
        stored = pipeline.judged(table, namespace, turn)
        terms = Terms(PaymentContext("s3"), ORG, namespace)
        with DryRun("f.csv", terms, Pseudonymizer(SECRET)) as run:
            for begin in range(0, len(table), batch):
                run.feed(table[begin : begin + batch])
        report = run.report
        told = dict.fromkeys((row.line for row in table), "accepted")
        told |= {error.line: "quarantined" for error in report.errors}
        told |= {found.line: "duplicate" for found in report.duplicates}
        told |= {found.line: "conflict" for found in report.conflicts}
        assert told == stored
        assert outcomes(report) == dict(Counter(stored.values()))
        met.update(stored.values())

    holds()
    assert set(met) == {outcome.value for outcome in Outcome}


def test_a_row_too_long_for_a_record_is_refused_as_the_pipeline_does(clickhouse: ClickHouse) -> None:
    """Whatever reader it came from, at any length: in cells, in what is sealed, in the key."""
    good = dict(zip(NAMES[:-1], GOOD, strict=False))
    wide = {f"Extra {at}": "x" * MAX_CELL for at in range(216)}
    narrow = dict(list(wide.items())[:210])
    table: list[Row] = [
        TableRow(line, {**good, "ID": f"U{line}", **more})
        for line, more in enumerate(
            [
                {}, {"custom": narrow}, {"custom": wide}, {"custom": {"a": "x" * 999_000}},
                {"custom": {"a": "x" * 885_000}}, {"NOTES": "x" * 700_000}, {"ID": "x" * 450_000},
            ],
            2,
        )
    ]  # fmt: skip
    two = (True, True)
    plain = ColumnRows(Header(NAMES[:2], two), [20, 21], [["P20", "P21"], ["x" * 400_000, "x" * 890_000]])
    sealed = ColumnRows(Header(("ID", "NOTES"), two), [30, 31], [["P30", "P31"], ["n", "n" * 700_000]])
    pipeline, namespace = Pipeline(clickhouse), f"n{next(numbers)}"
    with DryRun("f.csv", Terms(PaymentContext("s3"), ORG, namespace), Pseudonymizer(SECRET)) as run:
        for batch in (table, plain, sealed):
            run.feed(batch)
        told = {fault.line: fault.code.value for fault in reversed(run.report.errors)}
    assert {line for line, code in told.items() if code == "too_large"} == {4, 5, 6, 7, 8, 21, 31}
    assert all(fault.detail for fault in run.report.errors)
    for batch in (table, plain, sealed):
        pipeline.judged(batch, namespace, 12)
    stored = clickhouse.rows(
        "SELECT line, outcome, reasons FROM ledger WHERE dataset_id = {dataset:String}",
        dataset=f"ds_{namespace}",
    )
    assert {line for line, outcome, _ in stored if outcome == "accepted"} == {2, 3}
    refused = {
        line: str(reasons).strip("[]'").partition(":")[0] for line, outcome, reasons in stored if reasons
    }
    assert refused == told


def test_each_fault_of_a_row_is_told_with_its_line() -> None:
    """Several faults give several errors, an unreadable row one; lines survive quoted line ends."""
    bad = line(ID="UC2", TIMESTAMP="16/05/2021", PAYMENT_AMOUNT="1,234.5", METER_ID="N/A")
    report = check(file(line(NOTES="two\nlines"), bad, ["a", "b"], line(ID="UC3", CUSTOMER_PHONE="2.3E+11")))
    assert [(error.line, error.field, error.code.value) for error in report.errors] == [
        (4, "TIMESTAMP", "bad_timestamp"),
        (4, "PAYMENT_AMOUNT", "bad_decimal"),
        (4, "METER_ID", "missing"),
        (5, "", "unreadable_row"),
        (6, "CUSTOMER_PHONE", "bad_phone"),
    ]
    assert all(error.detail for error in report.errors)
    assert (report.rows, report.ok, report.bad, report.faults) == (4, 1, 3, 5)
    assert report.reasons["missing:METER_ID"] == report.reasons["unreadable_row"] == 1
    told = report.to_json()
    assert told["errors"][0].keys() == {"line", "field", "code", "detail"}
    assert {"file", "profile", "rows", "ok", "bad", "file_error", "errors"} <= told.keys()


def test_all_errors_are_counted_and_handed_on_and_the_first_kept() -> None:
    """A file of nothing but errors does not fill the memory."""
    seen: list[LineError] = []
    rows = [line(ID=f"U{number}", TIMESTAMP="x", PAYMENT_AMOUNT="y") for number in range(30)]
    report = check(file(*rows), kept=7, on_error=seen.append)
    assert (len(report.errors), report.faults, report.bad, len(seen)) == (7, 60, 30, 60)
    assert report.reasons == {"bad_timestamp:TIMESTAMP": 30, "bad_decimal:PAYMENT_AMOUNT": 30}
    same = check(file(*[line() for _ in range(30)]), kept=7)
    assert (len(same.duplicates), same.outcomes[Outcome.DUPLICATE]) == (7, 29)


def test_duplicates_and_conflicts_name_the_line_of_the_first() -> None:
    """Across batches: the same content, another spelling of it, other content, and what the rule decides."""
    paid = {"STATUS": "paid", "PAYMENT_AMOUNT": "5000"}
    rows = [
        line(**paid), line(**{**paid, "PAYMENT_AMOUNT": "5000.00"}), line(PAYMENT_AMOUNT="5000"),
        line(**{**paid, "STATUS": "void"}),
        line(**{**paid, "STATUS": "open", "TRANSACTION_TYPE": "reversal"}),
        line(**{**paid, "PAYMENT_AMOUNT": "1"}), line(**{**paid, "STATUS": "late"}), line(**paid),
    ]  # fmt: skip
    for size in (1, 100):
        table = list(Table(io.BytesIO(file(*rows)), "s3"))
        with DryRun("f.csv", S3, Pseudonymizer(SECRET)) as run:
            for begin in range(0, len(table), size):
                run.feed(table[begin : begin + size])
        report = run.report
        assert [(found.line, found.first_line) for found in report.duplicates] == [
            (3, 2), (4, 2), (9, 2)
        ]  # fmt: skip
        assert [(f.line, f.first_line, f.differing, f.decision) for f in report.conflicts] == [
            (5, 2, ("STATUS",), "take_new"),
            (6, 2, ("TRANSACTION_TYPE", "STATUS"), "count_both"),
            (7, 2, ("PAYMENT_AMOUNT",), None),
            (8, 2, ("STATUS",), None),
        ]


def test_a_header_that_is_none_is_told_and_no_row_counted() -> None:
    """A file-level error has its code and says what is expected."""
    report = check(file(line(), header=[name.lower() for name in NAMES]))
    assert report.file_error is not None
    assert report.file_error.code == "bad_header"
    assert "expected 'ID'" in report.file_error.detail
    assert (report.rows, outcomes(report)) == (0, {})
    assert check(b"").file_error == Remark("empty_file", "the file is empty: not even a header")


def test_the_terms_of_the_dataset_hold() -> None:
    """Default currency, further required fields and the profile decide as for rows that are sent."""
    rows = file(line(PAYMENT_CURRENCY="", TRANSACTION_TYPE=""), line(ID="UC2", PAYMENT_CURRENCY="CFA"))
    assert outcomes(check(rows, Terms(PaymentContext("upload")))) == {"quarantined": 2}
    upload = Terms(PaymentContext("upload", "XOF", frozenset({"STATUS"})))
    told = [(error.line, error.field) for error in check(rows, upload).errors]
    assert told == [(2, "STATUS"), (3, "STATUS")]
    assert outcomes(check(rows, Terms(PaymentContext("upload", "XOF")))) == {"accepted": 2}
    assert outcomes(check(rows)) == {"quarantined": 2}


def test_nothing_of_a_row_is_in_the_report() -> None:
    """Names, numbers and notes are not told, whatever is wrong; odd columns are, unless they look so."""
    header = [*NAMES[:-1], "Next of kin", "+234 803 123 4567", "Colour"]
    rows = [
        [*line(CUSTOMER_NAME="Zanele", NOTES="secret")[:-1], "Kin", "p", "red"],
        [*line(CUSTOMER_NAME="Zanele", NOTES="other secret")[:-1], "Kin", "p", "red"],
        [*line(CUSTOMER_NAME="Za\0nele", CUSTOMER_PHONE="2.34803123E+11")[:-1], "Kin", "p", "red"],
        ["Zanele", "+2348031234567"],
    ]
    told = str(check(file(*rows, header=header)).to_json())
    for text in ("Zanele", "secret", "803", "p'", "red"):
        assert text not in told
    assert "'Colour', 'Next of kin', 1 more" in told


def test_decimal_commas_are_read_and_remarked_on() -> None:
    """A file that writes decimal commas passes, and says that it does."""
    report = check(file(line(PAYMENT_AMOUNT="5,5"), line(ID="UC2", PAYMENT_AMOUNT="6,25")))
    assert outcomes(report) == {"accepted": 2}
    assert [remark["code"] for remark in report.to_json()["warnings"]] == ["decimal_comma"]


def test_rows_stay_as_they_are() -> None:
    """Whoever hands rows over may use them afterwards: pseudonyms are made of copies."""
    table = list(Table(io.BytesIO(file(line(Extra="+234 803 123 4567"))), "s3"))
    before = repr(table)
    with DryRun("f.csv", S3, Pseudonymizer(SECRET)) as run:
        run.feed(table)
    assert repr(table) == before


def test_memory_does_not_grow_with_the_file() -> None:
    """What is remembered of a row is in the temporary database, not in this program's memory."""
    cells = dict(zip(NAMES[:-1], GOOD, strict=False))

    def feed(run: DryRun, first: int, rows: int) -> None:
        for begin in range(first, first + rows, 500):
            # pydantic remembers some thousands of short texts
            run.feed([TableRow(n, {**cells, "ID": f"U{n:080}"}) for n in range(begin, begin + 500)])

    with DryRun("f.csv", S3, Pseudonymizer(SECRET)) as run:
        tracemalloc.start()
        try:
            feed(run, 0, 1000)
            first, _ = tracemalloc.get_traced_memory()
            feed(run, 1000, 5000)
            more = tracemalloc.get_traced_memory()[0] - first
        finally:
            tracemalloc.stop()
    assert outcomes(run.report) == {"accepted": 6000}
    assert more < 5000 * 8
