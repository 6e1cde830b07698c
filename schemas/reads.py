"""Validation of device reads: a batch of rows in, columns of the good ones and the faults of the bad ones.

The API and the streams both call this, so a device is told what the pipeline will say. What needs the
registry (was the device on board by then?) is `check_history`, which the streams ask afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import ValidationError

from schemas.cells import PLACEHOLDERS
from schemas.content import content_hash
from schemas.faults import RowError, column_faults
from schemas.outcomes import Code
from schemas.read_model import AGGREGATE, COLUMNS, HISTORY, READ_FIELDS, to_wh
from schemas.sentences import row_error

CLOCK_TOLERANCE_MS: Final = 5 * 60_000
"""How far ahead of ours a device's clock may be (milliseconds)."""
HISTORY_YEARS: Final = 3
"""How far before onboarding a History read may begin (seed: developer-onboarding)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

ReadRow = Mapping[str, Any]


@dataclass(slots=True)
class ReadBatch:
    """Verdict on a batch.

    Attributes:
        valid: indexes of the good rows, ascending.
        columns: `device_external_id`, `type`, `start` and `end` (milliseconds UTC; start None if not
            given), `value_wh`, `raw_value`, `raw_unit`: one value per good row.
        content_hash: one 64-bit hash per good row.
        errors: index of a bad row → its faults.
    """

    valid: list[int]
    columns: dict[str, list[Any]]
    content_hash: list[int]
    errors: dict[int, list[RowError]] = field(default_factory=dict)


class ReadValidator:
    """The one validation of reads. Stateless; safe to share between threads."""

    def validate(self, rows: Sequence[ReadRow], now_ms: int) -> ReadBatch:
        """Judge every row; `now_ms` is the present in milliseconds UTC, to refuse reads of the future."""
        raw = {name: [row.get(name) for row in rows] for name in READ_FIELDS}
        faults: dict[int, dict[str, Code]] = {}
        cells = _validated(raw, faults)
        latest = now_ms + CLOCK_TOLERANCE_MS
        intervals = zip(cells["type"], cells["start"], cells["end"], strict=True)
        for index, (kind, start, end) in enumerate(intervals):
            if end is None or end > latest or (end <= start if start is not None else kind != AGGREGATE):
                _interval_faults(kind, start, end, latest, faults.setdefault(index, {}))
        _missing(cells, faults)
        return _finish(cells, len(rows), faults)


def _validated(raw: dict[str, list[Any]], faults: dict[int, dict[str, Code]]) -> dict[str, list[Any]]:
    """The columns as pydantic returns them; faulty cells are emptied and the rest validated again."""
    try:
        cells: dict[str, list[Any]] = COLUMNS.validate_python(raw)
    except ValidationError as error:
        faults.update(column_faults(error))
        for index, codes in faults.items():
            for name in codes:
                raw[name][index] = None
        cells = COLUMNS.validate_python(raw)
    devices = cells["device_external_id"]
    if not PLACEHOLDERS.isdisjoint(devices):
        cells["device_external_id"] = [None if cell in PLACEHOLDERS else cell for cell in devices]
    return cells


def _interval_faults(
    kind: str | None, start: int | None, end: int | None, latest: int, faults: dict[str, Code]
) -> None:
    """Note what is wrong with an interval; a cell that has a fault already keeps that one."""
    if start is None and kind != AGGREGATE:
        faults.setdefault("start", Code.MISSING)
    if end is None:
        faults.setdefault("end", Code.MISSING)
    elif end > latest:
        faults.setdefault("end", Code.END_IN_FUTURE)
    elif start is not None and end <= start:
        faults.setdefault("end", Code.END_BEFORE_START)


def _missing(cells: Mapping[str, list[Any]], faults: dict[int, dict[str, Code]]) -> None:
    """Note missing values of the fields that every read has."""
    for name in ("device_external_id", "type", "value", "unit"):
        if None in cells[name]:
            for index, cell in enumerate(cells[name]):
                if cell is None:
                    faults.setdefault(index, {}).setdefault(name, Code.MISSING)


def _finish(cells: dict[str, list[Any]], rows: int, faults: dict[int, dict[str, Code]]) -> ReadBatch:
    """Columns and hashes of the good rows, values in Wh."""
    energies = [to_wh(value, unit) for value, unit in zip(cells["value"], cells["unit"], strict=True)]
    if None in energies:
        for index, energy in enumerate(energies):
            if energy is None and index not in faults:
                faults[index] = {"value": Code.OUT_OF_RANGE}
    valid = list(range(rows))
    if faults:
        valid = [index for index in valid if index not in faults]
        cells = {name: [column[index] for index in valid] for name, column in cells.items()}
        energies = [energies[index] for index in valid]
    columns = {
        "device_external_id": cells["device_external_id"],
        "type": cells["type"],
        "start": cells["start"],
        "end": cells["end"],
        "value_wh": energies,
        "raw_value": cells["value"],
        "raw_unit": cells["unit"],
    }
    hashes = [read_content_hash(energy) for energy in energies if energy is not None]
    errors = {
        index: [row_error(name, code) for name, code in found.items()]
        for index, found in sorted(faults.items())
    }
    return ReadBatch(valid, columns, hashes, errors)


def read_content_hash(value_wh: Decimal) -> int:
    """Content hash of a read: its energy in Wh, whatever unit it was sent in."""
    return content_hash(f"8:value_wh{value_wh}")


def check_history(kind: str, start_ms: int | None, end_ms: int, onboarded_ms: int | None) -> Code | None:
    """What a History read has against it once its device is known; None for any other type.

    History lies before onboarding and begins at most three calendar years before it; a device that is
    not on board yet has no limit.
    """
    if kind != HISTORY or onboarded_ms is None:
        return None
    if end_ms > onboarded_ms:
        return Code.HISTORY_AFTER_ONBOARDING
    if start_ms is not None and start_ms < _years_before(onboarded_ms, HISTORY_YEARS):
        return Code.HISTORY_TOO_OLD
    return None


def _years_before(ms: int, years: int) -> int:
    """The same day and time some years before; 28 February for a 29th that the year lacks."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    try:
        earlier = moment.replace(year=moment.year - years)
    except ValueError:
        earlier = moment.replace(year=moment.year - years, day=28)
    return (earlier - _EPOCH) // timedelta(milliseconds=1)
