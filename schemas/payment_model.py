"""The pydantic models of a payment, made from the table of fields.

One mapping of kinds to annotated types gives two shapes of the same thing: the record, whose JSON Schema
is published, and the columns, which validate a batch at the speed of pydantic's compiled core.
"""

from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from schemas.cells import IdText, LineText, NoteText, PaymentIdText
from schemas.currencies import CurrencyCell
from schemas.decimals import DecimalCell
from schemas.fields import CUSTOM, FIELDS, Field, Kind
from schemas.personal_cells import PersonalLine, PersonalNote, PersonalPhone
from schemas.quantities import CountCell, LatitudeCell, LongitudeCell, TypeCell
from schemas.timestamps import TimestampCell

_TYPES: Final[dict[Kind, Any]] = {
    "id": PaymentIdText | None,
    "text": LineText | None,
    "note": NoteText | None,
    "decimal": DecimalCell,
    "timestamp": TimestampCell,
    "currency": CurrencyCell,
    "type": TypeCell,
    "count": CountCell,
    "latitude": LatitudeCell,
    "longitude": LongitudeCell,
}
_PERSONAL_TYPES: Final[dict[Kind, Any]] = {
    "text": PersonalLine | None,
    "note": PersonalNote | None,
    "phone": PersonalPhone | None,
}
TEXT_KINDS: Final = frozenset({"id", "text", "note", "phone"})
"""Kinds whose validated value is a text; a placeholder in them is replaced after validation."""


def type_of(field: Field) -> Any:
    """The annotated type of a field's cell; None stands for a missing value."""
    return (_PERSONAL_TYPES if field.personal else _TYPES)[field.kind]


def _column(field: Field) -> Any:
    """The type of a field's cells in a batch; ids are looked at once more, as a whole column."""
    cell: Any = IdText | None if field.kind == "id" else type_of(field)
    return list[cell]


# The functional form needs a literal for type checkers; these are made from the table.
_make: Final[Any] = TypedDict
PaymentColumns: Final = with_config(ConfigDict(extra="forbid"))(
    _make("PaymentColumns", {field.name: _column(field) for field in FIELDS}, total=False)
)
"""A batch as columns: field → one cell per row. Only columns that a row of the batch has are there."""
PaymentRecord: Final = _make(
    "PaymentRecord",
    {**{field.name: type_of(field) for field in FIELDS}, CUSTOM: dict[str, str | None]},
    total=False,
)
"""One payment as it travels; which fields are required is the profile's matter (`schemas.documents`)."""

COLUMNS: Final[TypeAdapter[dict[str, list[Any]]]] = TypeAdapter(PaymentColumns)
RECORD: Final[TypeAdapter[Any]] = TypeAdapter(PaymentRecord)
