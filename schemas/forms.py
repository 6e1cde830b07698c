"""How the cell of a field is written, in words: for templates and documents that people read."""

from typing import Final

from schemas.fields import MAX_CELL, MAX_ID, Field, Kind
from schemas.quantities import TRANSACTION_TYPES

FORMS: Final[dict[Kind, str]] = {
    "id": f"Text of at most {MAX_ID} characters; leading zeros count, so write it as text.",
    "text": f"Text of at most {MAX_CELL} characters on one line.",
    "note": f"Text of at most {MAX_CELL} characters.",
    "phone": "Telephone number written as text, with its country's code.",
    "decimal": "Decimal number with a point and without thousands separators.",
    "timestamp": "Date and time in ISO 8601: UTC, unless an offset such as +01:00 follows.",
    "currency": "ISO 4217 code such as NGN, or the currency's name.",
    "type": f"One of {', '.join(TRANSACTION_TYPES)}.",
    "count": "Whole number of 0 or more.",
    "latitude": "Decimal degrees from -90 to 90.",
    "longitude": "Decimal degrees from -180 to 180.",
}


def form_of(field: Field) -> str:
    """What a cell of the field may hold."""
    return FORMS[field.kind]
