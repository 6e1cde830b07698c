"""`sunledger check`: says what would become of a file, without a server and without sending anything."""

import csv
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO, Any, BinaryIO, ClassVar, Final

import orjson
from pydantic_core import PydanticCustomError

from producers.corrections import write_corrected
from producers.dry_rows import LineError, Terms
from producers.dry_run import DryRun, Report
from producers.dry_warnings import name_warnings
from producers.errors import FileRefused
from producers.table_rows import Remark, Row
from producers.tabular import Table, open_table
from schemas.csv_cells import harmless
from schemas.currencies import parse_currency
from schemas.fields import NAMES
from schemas.payments import PaymentContext
from schemas.personal import Pseudonymizer

CANNOT_OPEN: Final = "cannot_open"
"""Code of a file that this machine does not give to be read."""
COLUMNS: Final = ("line", "field", "code", "detail")
Progress = Callable[[int], None]
"""Is told how many bytes of the file were read by now."""


class CheckFailed(Exception):
    """The check cannot be made as it was asked for; the message says why.

    Attributes:
        exit_code: of the command.
    """

    exit_code: ClassVar[int] = 2


class ServerCheckFailed(CheckFailed):
    """The server refuses to check, or does not answer."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        corrected, errors: files to write; None writes none.
        all_errors: keep every error in a temporary file, not the first ones in memory alone.
    """

    file: Path
    context: PaymentContext
    corrected: Path | None = None
    errors: Path | None = None
    all_errors: bool = False


@dataclass(slots=True)
class Answer:
    """The report as plain values, with all errors beside it when they were asked for.

    Attributes:
        report: see `Report.to_json`; with `corrected` when a corrected file was asked for.
        errors: JSON of each error, one a line, at its beginning; None when `report` has them.
    """

    report: dict[str, Any]
    errors: IO[bytes] | None = field(default=None, repr=False)

    @property
    def exit_code(self) -> int:
        """0: every row passes; 1: some do not; 2: the file cannot be read."""
        return 2 if self.report["file_error"] else int(self.report["bad"] > 0)


def context_of(profile: str, default_currency: str | None, required: Sequence[str]) -> PaymentContext:
    """The context of a dataset with these settings.

    Raises:
        CheckFailed: there is no such currency or field.
    """
    unknown = sorted(set(required) - NAMES)
    if unknown:
        raise CheckFailed(f"--required: expected the name of a payment's field, found {unknown[0]!r}")
    code = default_currency.strip().upper() if default_currency else None
    if code is not None and not _is_code(code):
        raise CheckFailed(f"--default-currency: expected an ISO 4217 code, found {default_currency!r}")
    return PaymentContext(profile, code, frozenset(required))


def _is_code(text: str) -> bool:
    try:
        return text in parse_currency(text).codes
    except PydanticCustomError:
        return False


def check(question: Question, progress: Progress = lambda done: None) -> Answer:
    """Judge a file, and write what was asked for.

    Raises:
        CheckFailed: a file that was asked for cannot be written.
    """
    with ExitStack() as stack:
        log = stack.enter_context(_writing(question))
        spool = TemporaryFile() if question.all_errors else None  # noqa: SIM115 - closed with the answer

        def note(error: LineError) -> None:
            log(error)
            if spool is not None:
                spool.write(orjson.dumps(error.to_json()) + b"\n")

        report = judge(question.file, question.context, progress, note)
        if spool is not None:
            spool.seek(0)
    answer = Answer(report.to_json(), spool)
    if question.corrected is not None:
        answer.report["corrected"] = _corrected(question, question.corrected, report)
    return answer


def judge(
    file: Path,
    context: PaymentContext,
    progress: Progress = lambda done: None,
    on_error: Callable[[LineError], None] = lambda error: None,
) -> Report:
    """The report on a file. Pseudonyms are made with a key that is thrown away."""
    with DryRun(file.name, Terms(context), Pseudonymizer(secrets.token_bytes(32)), on_error=on_error) as run:
        run.report.warnings += name_warnings(file.name, context.profile)
        try:
            return run.read(_rows(file, context.profile, progress, run.report.warnings))
        except OSError as error:
            run.report.file_error = Remark(CANNOT_OPEN, f"the file cannot be read: {error.strerror}")
            return run.report


def _rows(file: Path, profile: str, progress: Progress, warnings: list[Remark]) -> Iterator[Sequence[Row]]:
    """The rows of a file; what is left out of it is added to `warnings`."""
    opened: list[BinaryIO] = []

    def source() -> BinaryIO:
        opened.append(file.open("rb"))
        return opened[-1]

    try:
        # Only an upload may be a workbook, and a sheet exported as one.
        table = (
            open_table(source, profile)[0]
            if profile in ("upload", "sheet")
            else Table(source(), profile, source)
        )
        warnings += table.warnings
        for rows in table.batches():
            progress(opened[0].tell())
            yield rows
        warnings += table.last_remarks()
    finally:
        for one in opened:
            one.close()


@contextmanager
def _writing(question: Question) -> Iterator[Callable[[LineError], None]]:
    """What takes errors: the file that was asked for, or nothing."""
    if question.errors is None:
        yield lambda error: None
        return
    _check_other(question.errors, question.file)
    with _replacing(question.errors) as out:
        text = open(out.fileno(), "w", encoding="utf-8", newline="", closefd=False)  # noqa: SIM115 - flushed below
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        yield lambda error: writer.writerow([error.line, error.field, error.code, harmless(error.detail)])
        text.flush()


def _corrected(question: Question, path: Path, before: Report) -> dict[str, Any] | None:
    """Write the corrected file and look at it again; None when there is nothing that can be copied."""
    _check_other(path, question.file)
    if before.file_error is not None and before.file_error.code == CANNOT_OPEN:
        return None
    try:
        with _replacing(path) as out:
            done = write_corrected(lambda: question.file.open("rb"), question.context.profile, out)
    except FileRefused as refusal:
        return {"file": None, "file_error": {"code": refusal.code.value, "detail": refusal.detail}}
    after = judge(path, question.context).to_json()
    told = {name: after[name] for name in ("rows", "ok", "bad", "file_error", "outcomes")}
    changes = done.to_json()
    return {"file": str(path), **told, "changes": {name: changes[name] for name in ("headers", "cells")}} | {
        "left_out": done.left_out
    }


def _check_other(path: Path, file: Path) -> None:
    """Refuse to write over the file that is looked at."""
    if path.exists() and file.exists() and path.samefile(file):
        raise CheckFailed(f"{path} is the file that is checked; name another one to write to")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when it is complete, and is gone when it is not.

    Only its owner may read it: it holds what the checked file holds.

    Raises:
        CheckFailed: it cannot be written there.
    """
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
            try:
                yield out
                out.flush()
                os.replace(out.name, path)
            except BaseException:
                Path(out.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise CheckFailed(f"{path} cannot be written: {error.strerror}") from None


def print_json(answer: Answer, out: IO[bytes] | None = None) -> None:
    """The report as one JSON object, every error in it, without holding them all."""
    stream = out or sys.stdout.buffer
    errors = answer.errors
    if errors is None:
        stream.write(orjson.dumps(answer.report, option=orjson.OPT_INDENT_2) + b"\n")
        stream.flush()
        return
    head = {name: value for name, value in answer.report.items() if name != "errors"}
    stream.write(orjson.dumps(head, option=orjson.OPT_INDENT_2).removesuffix(b"\n}") + b',\n  "errors": [')
    between = b"\n    "
    for line in errors:
        stream.write(between + line.rstrip(b"\n"))
        between = b",\n    "
    stream.write(b"\n  ]\n}\n" if between.startswith(b",") else b"]\n}\n")
    stream.flush()
    errors.close()
