"""The report of `sunledger check` for people: what would become of the file, and which rows need work."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sunledger.check import Progress as Told

_BETWEEN_FAULTS: Final = re.compile(r"; (?=columns? )")
SHOWN: Final = 20
"""How many errors, conflicts and hints are shown."""


@contextmanager
def progress_bar(file: Path) -> Iterator[Told]:
    """A bar on the standard error, on a terminal only."""
    console = Console(stderr=True)
    if not console.is_terminal or not file.is_file():
        yield lambda done: None
        return
    columns = TextColumn("checking"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("checking", total=file.stat().st_size)
        yield lambda done: bar.update(task, completed=done)


def tell(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the report."""
    out = console or Console(highlight=False)
    _say(out, Text.assemble((report["file"], "bold"), f", profile {report['profile']}"))
    if (error := report["file_error"]) is not None:
        _say(out, Text.assemble(("The file cannot be read", "bold red"), f" ({error['code']}):"))
        for fault in _BETWEEN_FAULTS.split(error["detail"]):
            _say(out, Text(f"  {fault}"))
    else:
        _rows(out, report)
    for remark in report["warnings"]:
        _say(out, Text.assemble(("Warning: ", "yellow"), remark["detail"]))
    if (ledger := report.get("ledger")) is not None and report["file_error"] is None:
        _ledger(out, ledger)
    if (corrected := report.get("corrected")) is not None:
        _corrected(out, corrected)


def _rows(out: Console, report: Mapping[str, Any]) -> None:
    good = report["bad"] == 0
    rows = f"{report['rows']} rows: {report['ok']} pass, {report['bad']} do not"
    _say(out, Text(rows, "green" if good else "red"))
    _outcomes(out, "What would become of them", report["outcomes"])
    _table(out, "Faults", ("fault", "rows"), _most(report["reasons"]), len(report["reasons"]))
    _table(
        out, "Rows that do not pass", ("line", "field", "code", "what is wrong"),
        [(e["line"], e["field"], e["code"], e["detail"]) for e in report["errors"][:SHOWN]],
        report["errors_total"],
    )  # fmt: skip
    _table(
        out, "Rows that are in the file before", ("line", "same as line"),
        [(one["line"], _line(one)) for one in report["duplicates"][:SHOWN]], report["outcomes"]["duplicate"],
    )  # fmt: skip
    _conflicts(out, "Rows with the ID of another one and other content", report)


def _ledger(out: Console, ledger: Mapping[str, Any]) -> None:
    """The same rows beside what the server has stored."""
    _outcomes(out, "Beside what is stored", ledger["outcomes"])
    _conflicts(out, "Conflicts beside what is stored", ledger)
    match = ledger["match"]
    counts = ", ".join(f"{match[name]} {name}" for name in ("matched", "ambiguous", "unmatched"))
    rate = "" if match["rate"] is None else f" ({match['rate']:.1%} would match)"
    _say(out, f"Connections: {counts}{rate}")
    _table(
        out, "Ids that are nearly those of connections", ("line", "external id of the connection"),
        [(hint["line"], hint["external_id"]) for hint in match["hints"][:SHOWN]], match["near"],
    )  # fmt: skip


def _corrected(out: Console, corrected: Mapping[str, Any]) -> None:
    if corrected["file"] is None:
        detail = corrected["file_error"]["detail"]
        _say(out, Text.assemble(("No corrected file: ", "yellow"), detail))
        return
    _say(out, Text(f"{corrected['file']}: {corrected['ok']} of {corrected['rows']} rows pass"))
    changes = corrected["changes"]
    renamed = [(one["now"], f"name, was {one['found']!r}", 1) for one in changes["headers"]]
    cells = [(name, what, count) for name, found in changes["cells"].items() for what, count in found.items()]
    changed = [*renamed, *cells]
    _table(out, "What was corrected", ("column", "what", "times"), changed, len(changed))
    if corrected["left_out"]:
        _say(out, Text(f"{corrected['left_out']} rows are too long to be copied and were left out", "red"))


def _outcomes(out: Console, title: str, outcomes: Mapping[str, int]) -> None:
    _table(out, title, ("outcome", "rows"), list(outcomes.items()), len(outcomes))


def _conflicts(out: Console, title: str, report: Mapping[str, Any]) -> None:
    _table(
        out, title, ("line", "first", "fields that differ", "the rule decides"),
        [
            (one["line"], _line(one), ", ".join(one["fields"]), one["decision"] or "people do")
            for one in report["conflicts"][:SHOWN]
        ],
        report["outcomes"]["conflict"],
    )  # fmt: skip


def _line(one: Mapping[str, Any]) -> str:
    if one["first_line"] is not None:
        return str(one["first_line"])
    stored = one.get("stored")
    return f"{stored['source_ref'] or stored['source']} line {stored['line']}" if stored else "stored before"


def _most(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: -item[1])[:SHOWN]


def _table(
    out: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], total: int
) -> None:
    """A table, and how many rows of it are not shown; nothing without rows."""
    if not rows:
        return
    _say(out, Text(f"\n{title}", "bold"))
    table = Table()
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*[Text(str(cell)) for cell in row])
    out.print(table)
    if total > len(rows):
        _say(out, f"… and {total - len(rows)} more")


def _say(out: Console, text: str | Text) -> None:
    """A line that is not broken: a terminal breaks it anyway, and a log is searched by the line."""
    out.print(text, soft_wrap=True, markup=False)
