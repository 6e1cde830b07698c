"""Faults of a refused row in words, for everything that tells of refusals. Never a value."""

from collections.abc import Iterable

from pydantic import BaseModel, Field

from schemas.fields import BY_NAME
from schemas.forms import form_of
from schemas.sentences import told


class FaultOut(BaseModel):
    """One fault of a refused row."""

    code: str = Field(description="Reason code.")
    field: str | None = Field(description="Name of the field; null when it is the row as a whole.")
    detail: str = Field(description="What the code says; never what was sent.")
    expected: str | None = Field(description="What a cell of a payment's field may hold; null for others.")


def faults_of(reasons: Iterable[str]) -> list[FaultOut]:
    """The faults behind stored reasons, in their order."""
    return [_fault(reason) for reason in reasons]


def sentence(fault: FaultOut) -> str:
    """A fault on one line: field, code, and what is expected."""
    name = f"{fault.field} {fault.code}" if fault.field else fault.code
    text = ". ".join(part.rstrip(".") for part in (fault.detail, fault.expected) if part)
    return f"{name}: {text}" if text else name


def _fault(reason: str) -> FaultOut:
    code, field, detail = told(reason)
    known = BY_NAME.get(field)
    return FaultOut(code=code, field=field or None, detail=detail, expected=form_of(known) if known else None)
