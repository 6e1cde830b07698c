"""Validation of payments: a batch of rows in, columns of the good ones and the faults of the bad ones out.

The dry run, the API and the streams all call this. A batch is turned into columns and validated by
pydantic's compiled core in one call. A fault makes its cell empty and costs one second call, however
many there are; what concerns more than one cell (required fields, the default currency, coordinates)
is looked at afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from schemas.cells import PLACEHOLDERS, spoiled_ids
from schemas.currencies import Currency, resolve
from schemas.custom import KNOWN_KEYS, canonical_row, custom_cell
from schemas.faults import RowError, column_faults
from schemas.fields import (
    BY_NAME,
    CUSTOM,
    DEFAULT_CURRENCY_PROFILES,
    FIELDS,
    PROFILES,
)
from schemas.outcomes import Code
from schemas.payment_columns import columns_of, hashes_of
from schemas.payment_model import COLUMNS, TEXT_KINDS
from schemas.quantities import Pair, settle
from schemas.sentences import candidates_found, length_found, row_error

PaymentRow = Mapping[str, Any]
_CURRENCY: Final = frozenset({"PAYMENT_CURRENCY"})


@dataclass(frozen=True, slots=True)
class PaymentContext:
    """What a row's dataset says about it. Rows of one dataset share one object.

    Attributes:
        profile: name of a profile of `schemas.fields.PROFILES`.
        default_currency: ISO 4217 code, or None.
        extra_required: canonical names of fields that the financing programme requires besides.
    """

    profile: str
    default_currency: str | None = None
    extra_required: frozenset[str] = frozenset()

    def required(self) -> frozenset[str]:
        """Fields that a row must have. An amount without a currency says nothing: a default, or the field.

        Raises:
            KeyError: there is no such profile.
        """
        needed = PROFILES[self.profile] | self.extra_required
        return needed - _CURRENCY if self.fills_currency() else needed | _CURRENCY

    def fills_currency(self) -> bool:
        """True if a row without PAYMENT_CURRENCY gets the default one."""
        return self.default_currency is not None and self.profile in DEFAULT_CURRENCY_PROFILES


@dataclass(slots=True)
class PaymentBatch:
    """Verdict on a batch.

    Attributes:
        valid: indexes of the good rows, ascending.
        columns: column name → one value per good row; texts are empty where there is none.
        content_hash: one 64-bit hash per good row.
        errors: index of a bad row → its faults.
    """

    valid: list[int]
    columns: dict[str, list[Any]]
    content_hash: list[int]
    errors: dict[int, list[RowError]] = field(default_factory=dict)


class _Faults:
    """Faults found so far, one per row and field."""

    def __init__(self) -> None:
        self.by_row: dict[int, dict[str, Code]] = {}
        self._found: dict[tuple[int, str], str] = {}

    def add(self, index: int, name: str, code: Code, found: str = "") -> None:
        """Note a fault, unless the cell already has one; `found` is what may be told of the cell."""
        self.by_row.setdefault(index, {}).setdefault(name, code)
        if found:
            self._found[index, name] = found

    def errors(self) -> dict[int, list[RowError]]:
        """The faults by row, in order."""
        return {
            index: [row_error(name, code, self._found.get((index, name), "")) for name, code in own.items()]
            for index, own in sorted(self.by_row.items())
        }


class _Cells(NamedTuple):
    """Columns while they are judged: canonical field → cells, and unknown columns."""

    fields: dict[str, list[Any]]
    custom: list[dict[str, str]] | None


class PaymentValidator:
    """The one validation of payments. Stateless; safe to share between threads."""

    def validate(self, rows: Sequence[PaymentRow], contexts: Sequence[PaymentContext]) -> PaymentBatch:
        """Judge every row under its context; `contexts[i]` belongs to `rows[i]`.

        Raises:
            ValueError: the two sequences differ in length.
            KeyError: a context names an unknown profile.
        """
        if len(rows) != len(contexts):
            raise ValueError("as many contexts as rows are needed")
        faults = _Faults()
        cells = _read(rows, faults)
        groups = _group(contexts)
        _require(cells.fields, groups, faults)
        codes = _currencies(cells.fields, groups, len(rows), faults)
        _coordinates(cells.fields, faults)
        return _finish(cells, codes, len(rows), faults)


def _read(rows: Sequence[PaymentRow], faults: _Faults) -> _Cells:
    """Columns of validated cells; None for a missing value and for one with a fault."""
    keys: set[str] = set().union(*rows)
    if not keys <= KNOWN_KEYS:
        rows = [canonical_row(row) for row in rows]
        keys = set().union(*rows)
    raw = {item.name: [row.get(item.name) for row in rows] for item in FIELDS if item.name in keys}
    return _Cells(_validated(raw, faults), _custom(rows, faults) if CUSTOM in keys else None)


def _validated(raw: dict[str, list[Any]], faults: _Faults) -> dict[str, list[Any]]:
    """The columns as pydantic returns them; faulty cells are emptied and the rest validated again."""
    try:
        fields = COLUMNS.validate_python(raw)
    except ValidationError as error:
        for index, codes in column_faults(error).items():
            for name, code in codes.items():
                too_long = code is Code.TOO_LONG
                faults.add(index, name, code, length_found(name, raw[name][index]) if too_long else "")
                raw[name][index] = None
        fields = COLUMNS.validate_python(raw)
    for name, cells in fields.items():
        if BY_NAME[name].kind in TEXT_KINDS and not PLACEHOLDERS.isdisjoint(cells):
            fields[name] = [None if cell in PLACEHOLDERS else cell for cell in cells]
        if BY_NAME[name].kind == "id":
            for index in spoiled_ids(cells):
                faults.add(index, name, Code.BAD_ID)
    return fields


def _custom(rows: Sequence[PaymentRow], faults: _Faults) -> list[dict[str, str]]:
    """Unknown columns of every row, empty where they have a fault."""
    found: list[dict[str, str]] = []
    for index, row in enumerate(rows):
        texts = custom_cell(row.get(CUSTOM))
        if isinstance(texts, Code):
            faults.add(index, CUSTOM, texts)
            texts = {}
        found.append(texts)
    return found


_Groups = list[tuple[PaymentContext, Sequence[int]]]


def _group(contexts: Sequence[PaymentContext]) -> _Groups:
    """Row indexes by context; contexts are shared objects, so most batches have one group."""
    if len(set(map(id, contexts))) == 1:
        return [(contexts[0], range(len(contexts)))]
    groups: dict[PaymentContext, list[int]] = {}
    for index, context in enumerate(contexts):
        groups.setdefault(context, []).append(index)
    return list(groups.items())


def _require(fields: Mapping[str, list[Any]], groups: _Groups, faults: _Faults) -> None:
    """Note the missing required fields of every row."""
    for context, indexes in groups:
        for name in sorted(context.required()):
            cells = fields.get(name)
            missing = indexes if cells is None else _empty(cells, indexes)
            for index in missing:
                faults.add(index, name, Code.MISSING)


def _empty(cells: list[Any], indexes: Sequence[int]) -> Sequence[int]:
    """Which of the rows have no value in a column."""
    return [index for index in indexes if cells[index] is None] if None in cells else ()


def _currencies(fields: Mapping[str, list[Any]], groups: _Groups, rows: int, faults: _Faults) -> list[str]:
    """The code of every row, with defaults filled in; empty where there is none."""
    given: Sequence[Currency | None] = fields.get("PAYMENT_CURRENCY") or [None] * rows
    codes = [""] * rows
    for context, indexes in groups:
        default = context.default_currency
        filled = (default or "") if context.fills_currency() else ""
        for index in indexes:
            currency = given[index]
            code = filled if currency is None else resolve(currency, default)
            if code is not None:
                codes[index] = code
            elif currency is not None:
                faults.add(
                    index, "PAYMENT_CURRENCY", Code.AMBIGUOUS_CURRENCY, candidates_found(currency.codes)
                )
    return codes


def _coordinates(fields: dict[str, list[Any]], faults: _Faults) -> None:
    """Replace pairs by single coordinates."""
    given = fields.get("LATITUDE"), fields.get("LONGITUDE")
    if not any(isinstance(cell, Pair) for cells in given if cells for cell in cells):
        return
    rows = len(given[0] or given[1] or ())
    latitudes: list[Any] = list(given[0] or [None] * rows)
    longitudes: list[Any] = list(given[1] or [None] * rows)
    for index, both in enumerate(zip(latitudes, longitudes, strict=True)):
        settled = settle(*both)
        if settled is None:
            faults.add(index, "LATITUDE" if isinstance(both[0], Pair) else "LONGITUDE", Code.BAD_COORDINATES)
        latitudes[index], longitudes[index] = settled or (None, None)
    fields["LATITUDE"], fields["LONGITUDE"] = latitudes, longitudes


def _finish(cells: _Cells, codes: list[str], rows: int, faults: _Faults) -> PaymentBatch:
    """Columns and hashes of the good rows."""
    fields, custom = cells
    valid = list(range(rows))
    if faults.by_row:
        valid = [index for index in valid if index not in faults.by_row]
        fields = {name: [column[index] for index in valid] for name, column in fields.items()}
        custom = custom and [custom[index] for index in valid]
        codes = [codes[index] for index in valid]
    return PaymentBatch(
        valid, columns_of(fields, custom, codes), hashes_of(fields, custom, len(valid)), faults.errors()
    )
