"""The error report of an upload: the rows that are refused now as they were sent, a line for each fault."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from api.audit import service as audit
from api.audit.service import Actor, Deed
from api.deps import Running
from api.quarantine.errors import SealUnopenable
from api.quarantine.originals import Opener, Original
from api.tables import Upload
from api.uploads import repository
from api.uploads.repository import source_ref
from schemas.csv_cells import harmless
from schemas.fields import CUSTOM
from schemas.outcomes import Code
from schemas.personal import Pseudonymizer, Sealer
from schemas.sentences import told
from schemas.unknown_columns import as_sent
from sinks.quarantine import RefusedRow, sealed_rows
from sinks.refused_lines import RefusedLine, refused_lines

PAGE: Final = 1000
"""Rows that are asked for, and opened, at once."""
ADDED: Final = ("line", "field", "reason", "detail", "raw")
"""Columns behind those of the file; `raw` is the text of a row that the reader could not take apart."""
_WAITED: Final = frozenset(
    {Code.UNKNOWN_ORGANIZATION, Code.UNKNOWN_DATASET, Code.STORE_REFUSED, Code.KILLED_WORKER}
)
"""Reasons that say nothing of a row's cells."""
_CLOSED: Final = "the original cannot be opened: it was sealed under another secret"


def csv_parts(app: Running, actor: Actor, upload_id: str) -> Iterator[str]:
    """The file in parts. The audit's entry is committed before anything is opened, and the first part is
    asked for at once, so that a store that is away is a 503. Blocks.

    Raises:
        NotFound: there is no such upload.
        StoreAway: ClickHouse does not answer.
    """
    with app.db.write() as session:
        upload = repository.get(session, upload_id)
        deed = Deed("upload.originals_opened", "upload", upload.id, upload.organization_id)
        audit.record(session, actor, [deed])
    return _parts(app, upload, _page(app, upload, 0))


def _parts(app: Running, upload: Upload, page: Sequence[RefusedLine]) -> Iterator[str]:
    settings = app.parts.settings
    opener = Opener(
        Sealer(settings.seal_secret), Pseudonymizer(settings.pseudonym_secret, settings.pseudonym_profile)
    )
    yield _lines([[*upload.columns, *ADDED]])
    if upload.error:  # of the whole file; the detail of a header's fault names its line
        yield _lines([[*[""] * len(upload.columns), "", "", upload.error, upload.detail or "", ""]])
    while page:
        sealed = _sealed(app, page)
        made = [
            _reported(opener, upload.columns, line.line, sealed.get(line.sent), sealed.get(line.now))
            for line in page
        ]
        yield _lines([row for rows in made for row in rows])
        if len(page) < PAGE:
            return
        page = _page(app, upload, page[-1].line)


def _page(app: Running, upload: Upload, after: int) -> list[RefusedLine]:
    owner, dataset = upload.organization_id, upload.dataset_id
    return app.store.ask(refused_lines, owner, dataset, source_ref(upload), after, PAGE)


def _sealed(app: Running, page: Sequence[RefusedLine]) -> dict[tuple[str, int], RefusedRow]:
    """The sealed originals of a page, by topic and position."""
    found: dict[tuple[str, int], RefusedRow] = {}
    places = {place for line in page for place in (line.sent, line.now)}
    for topic in {topic for topic, _ in places}:
        rows = app.store.ask(sealed_rows, topic, [position for own, position in places if own == topic])
        found |= {(topic, row.position): row for row in rows}
    return found


def _reported(
    opener: Opener, columns: Sequence[str], line: int, sent: RefusedRow | None, now: RefusedRow | None
) -> list[list[str]]:
    """One row of the report for each fault of a row, which is shown as it was sent.

    Its faults are its own, not those of a correction that was refused; a row that only waited for
    something and was refused afterwards has those that were found then.
    """
    original = _opened(opener, sent)
    cells, raw = _cells(original, columns) if original else ({}, "")
    shown = [cells.get(column, "") for column in columns]
    waited = sent is not None and _WAITED.issuperset(reason.partition(":")[0] for reason in sent.reasons)
    row = now if waited else sent
    reasons = row.reasons if row else [""]
    said = {original.unreadable: row.details} if row and original and row.details else {}
    return [
        [*shown, str(line), field, code, (said.get(code) or detail) if original else _CLOSED, raw]
        for code, field, detail in map(told, reasons)
    ]


def _opened(opener: Opener, row: RefusedRow | None) -> Original | None:
    """The original; None when it cannot be opened, which is told in the row's place."""
    try:
        return opener.open(row) if row else None
    except SealUnopenable:
        return None


def _cells(original: Original, columns: Sequence[str]) -> tuple[dict[str, str], str]:
    """Cells by column, and the raw text of a row that has none."""
    if original.cells is None:
        return {}, original.text.decode(errors="replace")
    cells = {**original.cells}
    custom = cells.pop(CUSTOM, None)
    more = custom if isinstance(custom, dict) else {}
    every = {**more, **cells, **original.kept, **_commas(columns, cells, more)}
    return {name: str(value) for name, value in every.items()}, ""


def _commas(columns: Sequence[str], cells: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, str]:
    """The texts of numbers that were sent with a decimal comma; what the reader made of them has a point."""
    return {
        name: text
        for name, value in cells.items()
        if as_sent(name) not in columns  # else it is the sender's own
        if isinstance(text := custom.get(as_sent(name)), str) and text.replace(",", ".") == value
    }


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([[harmless(cell) for cell in row] for row in rows])
    return text.getvalue()
