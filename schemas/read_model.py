"""The pydantic models of a read: the record as it travels, and the columns that validate a batch."""

from decimal import Context, Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import ConfigDict, PlainValidator, TypeAdapter, WithJsonSchema, with_config
from typing_extensions import TypedDict

from schemas.cells import IdText
from schemas.decimals import MAX_DIGITS, NUMBER_SCHEMA, decimal_cell, fixed
from schemas.faults import RefusedAs, fault
from schemas.outcomes import Code
from schemas.timestamps import MomentCell

HISTORY: Final = "History"
AGGREGATE: Final = "Aggregate"
ReadType = Literal["History", "Delta", "Aggregate"]
"""Seed developer-onboarding: energy before onboarding, energy of an interval, a register's value."""
Unit = Literal["Wh", "kWh", "MWh", "GWh"]
WH_PER_UNIT: Final = {"Wh": Decimal(1), "kWh": Decimal(1000), "MWh": Decimal(10**6), "GWh": Decimal(10**9)}
WH_FRACTION_DIGITS: Final = 6

_MILLIONTH: Final = Decimal(1).scaleb(-WH_FRACTION_DIGITS)
_WIDE: Final = Context(prec=2 * MAX_DIGITS)
_WH: Final = Context(prec=MAX_DIGITS, traps=[InvalidOperation])


def energy_cell(value: Any) -> Decimal | None:
    """A value of 0 or more; a float is rounded to nine digits after the point, where only noise is lost."""
    if isinstance(value, float):
        if not 0 <= value < float("inf"):
            raise fault(Code.OUT_OF_RANGE)
        return fixed(Decimal(repr(value)))
    energy = decimal_cell(value)
    if energy is not None and energy < 0:
        raise fault(Code.OUT_OF_RANGE)
    return energy


def to_wh(value: Decimal | None, unit: str | None) -> Decimal | None:
    """Energy in Wh with six digits after the point, rounded half to even.

    None for a missing value or unit, and for an energy that does not fit Decimal(38, 6).
    """
    if value is None or unit is None:
        return None
    try:
        return _WH.quantize(_WIDE.multiply(value, WH_PER_UNIT[unit]), _MILLIONTH)
    except InvalidOperation:
        return None


EnergyCell = Annotated[Decimal | None, PlainValidator(energy_cell), WithJsonSchema(NUMBER_SCHEMA)]
TypeCell = Annotated[ReadType, RefusedAs(Code.UNKNOWN_TYPE)]
UnitCell = Annotated[Unit, RefusedAs(Code.UNKNOWN_UNIT)]


class ReadRecord(TypedDict):
    """One read as it travels. `start` is left out for a register's value."""

    device_external_id: IdText
    type: TypeCell
    start: NotRequired[MomentCell]
    end: MomentCell
    value: EnergyCell
    unit: UnitCell


@with_config(ConfigDict(extra="forbid"))
class ReadColumns(TypedDict):
    """A batch as columns: one cell per row, None for a missing value."""

    device_external_id: list[IdText | None]
    type: list[TypeCell | None]
    start: list[MomentCell]
    end: list[MomentCell]
    value: list[EnergyCell]
    unit: list[UnitCell | None]


READ_FIELDS: Final = ("device_external_id", "type", "start", "end", "value", "unit")
COLUMNS: Final[TypeAdapter[Any]] = TypeAdapter(ReadColumns)
RECORD: Final[TypeAdapter[Any]] = TypeAdapter(ReadRecord)
