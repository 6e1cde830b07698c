"""The quarantine as CSV for spreadsheets: lineage and reasons, never a value of a row."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from api.db import iso_ms
from api.faults import faults_of, sentence
from api.store import Store
from schemas.csv_cells import harmless
from sinks import quarantine
from sinks.quarantine import COLUMNS

PAGE: Final = 5000
"""Rows that are asked for at once."""
FAULTS: Final = "faults"
"""The last column; the others are those of the view."""


def csv_parts(store: Store, filters: Mapping[str, Any]) -> Iterator[str]:
    """The file in parts. The first part is asked for at once, so that a store that is away is a 503.

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    first = store.ask(quarantine.refused, filters, PAGE)
    return _parts(store, filters, first)


def _parts(store: Store, filters: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield _lines([[*COLUMNS, FAULTS]])
    while rows:
        yield _lines([[*(_cell(row[name]) for name in COLUMNS), _faults(row)] for row in rows])
        last = rows[-1]
        if len(rows) < PAGE:
            return
        rows = store.ask(quarantine.refused, filters, PAGE, (last["topic"], last["position"]))


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _faults(row: Mapping[str, Any]) -> str:
    """The reasons in words: field, code and what is expected."""
    return harmless("; ".join(map(sentence, faults_of(row["reasons"]))))


def _cell(value: Any) -> str:
    """A cell that no spreadsheet runs as a formula: ids and file names are their sender's."""
    if isinstance(value, datetime):
        return iso_ms(value)
    if isinstance(value, list):
        return harmless(" ".join(value))
    return "" if value is None else harmless(str(value))
