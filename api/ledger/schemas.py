"""What became of rows and connections, as told over HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer

from api.db import iso_ms
from api.numbers import decimal_text

Big = Annotated[str, BeforeValidator(str), Field(description="64-bit number as text: JSON readers round it.")]
Moment = Annotated[datetime, PlainSerializer(iso_ms, return_type=str)]


Amount = Annotated[Decimal, PlainSerializer(decimal_text, return_type=str)]
"""A decimal as text with all its digits, as in every other answer: JSON readers round numbers."""


class Verification(BaseModel):
    """Is this connection real and in use?"""

    organization_id: str
    project_id: str
    connection_id: str
    external_id: str
    verified: bool = Field(False, description="At least one counted payment.")
    payments: int = Field(0, description="Counted payments.")
    first_payment: Moment | None = None
    last_payment: Moment | None = None
    totals: dict[str, Amount] = Field({}, description="Counted payments by currency: decimals as text.")
    totals_by_type: dict[str, dict[str, Amount]] = Field({}, description="By currency and type, as text.")
    net_totals: dict[str, Amount] = Field({}, description="Totals less reversals, by currency, as text.")
    energy_wh: Amount = Field(Decimal(0), description="Energy of its device in Wh: a decimal as text.")
    device_id: str = ""
    as_known_at: Moment | None = Field(None, description="The moment that was asked about; null: now.")


def cursor_parts(value: Any) -> tuple[str, int, str]:
    """Topic, position and `source_ref` of a ledger cursor (ValueError for anything else)."""
    topic, position, source_ref = value
    texts = isinstance(topic, str) and isinstance(source_ref, str)
    if not texts or type(position) is not int or not 0 <= position < 1 << 64:
        raise ValueError("not a ledger cursor")
    return topic, position, source_ref
