"""Faults of a row: what a validator raises, and what is told about it (field, code, a fixed sentence).

A sentence never contains the value: values may be personal data.
"""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import custom_error_schema

from schemas.outcomes import Code

SENTENCES: Final[dict[Code, str]] = {
    Code.NOT_JSON: "the record is not JSON text in UTF-8",
    Code.NOT_OBJECT: "the record is not a JSON object",
    Code.REPEATED_MEMBER: "a member stands twice in the JSON object: which of the two counts is not known",
    Code.TOO_LARGE: "the record is larger than allowed",
    Code.UNREADABLE_ROW: "the row could not be read",
    Code.MISSING: "a required field has no value",
    Code.WRONG_TYPE: "the value is not of the type this field has; an id of over 19 digits is sent as text",
    Code.CONTROL_CHARACTER: "the text contains a control character, or an id one that nobody sees",
    Code.TOO_LONG: "the text is longer than allowed",
    Code.BAD_TIMESTAMP: "not a date and time in ISO 8601 with seconds, such as 2021-05-16T14:16:01Z",
    Code.TIMESTAMP_OUT_OF_RANGE: "the date is before 1900 or after 2299",
    Code.BAD_DECIMAL: "not a decimal number with a point and without thousands separators",
    Code.OUT_OF_RANGE: "the number is outside the allowed range or has too many digits",
    Code.UNKNOWN_CURRENCY: "neither an ISO 4217 code nor a known name of a currency",
    Code.AMBIGUOUS_CURRENCY: "several currencies have this name: send the ISO 4217 code",
    Code.UNKNOWN_TYPE: "not one of the allowed types",
    Code.UNKNOWN_UNIT: "not one of the units Wh, kWh, MWh, GWh",
    Code.BAD_INTEGER: "not a whole number of 0 or more",
    Code.BAD_COORDINATES: "not decimal degrees in range",
    Code.BAD_PHONE: "a telephone number that a spreadsheet turned into a decimal number",
    Code.FORMULA_ERROR: "what a spreadsheet shows where a formula failed (#N/A, #REF!): the value is lost",
    Code.BAD_ID: "what a spreadsheet left of an id: 1.23457E+11 (rounded), 1234.0 (a fraction), #N/A",
    Code.END_BEFORE_START: "the end is not after the start",
    Code.END_IN_FUTURE: "the end is in the future",
    Code.HISTORY_AFTER_ONBOARDING: "a History read ends after the device was brought on board",
    Code.HISTORY_TOO_OLD: "a History read begins more than three years before the device was on board",
    Code.HISTORY_OVERLAP: "a History read overlaps another one",
    Code.UNKNOWN_ORGANIZATION: "the organisation is not registered; the row is replayed when it is",
    Code.UNKNOWN_DATASET: "the organisation has no such dataset; the row is replayed when it has",
    Code.UNKNOWN_DEVICE: "the organisation has no such device; the row is replayed when it has",
    Code.BAD_HEADER: "a record header, or the header line of a file, is not what it must be",
    Code.STORE_REFUSED: "ClickHouse refuses this row, and trying again cannot cure it",
    Code.KILLED_WORKER: "workers died of this row, so it is not read any more",
    Code.EMPTY_FILE: "the file has no bytes",
    Code.BAD_ENCODING: "the file is not text in UTF-8, or in UTF-16 with a byte order mark",
    Code.WRONG_NAME: "the file has not the one name a payments file has",
    Code.SOURCE_ERROR: "a pull API answered a window, and reported an error of its own in the answer",
}
"""Every code in words: the one place of them, for answers, reports, stories and documents."""


@dataclass(frozen=True, slots=True)
class RowError:
    """One fault of a row. `detail` explains the code and never contains the value."""

    field: str
    code: Code
    detail: str


def fault(code: Code) -> PydanticCustomError:
    """The exception a validator raises to refuse a value with `code`."""
    return PydanticCustomError(code.value, "refused")


@dataclass(frozen=True, slots=True)
class RefusedAs:
    """Annotation: whatever pydantic's core has against a value is told as this code."""

    code: Code

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The type's own schema with its errors replaced."""
        return custom_error_schema(handler(source), self.code.value, custom_error_message="refused")


_CORE_CODES: Final = {
    "string_too_long": Code.TOO_LONG,
    "string_pattern_mismatch": Code.CONTROL_CHARACTER,
    "string_unicode": Code.CONTROL_CHARACTER,
    **{code.value: code for code in Code},
}


def column_faults(error: ValidationError) -> dict[int, dict[str, Code]]:
    """Faults of a validation of columns: row index → field → code.

    A union reports each branch it tried; the first, the text's, is what the sender meant.
    """
    found: dict[int, dict[str, Code]] = {}
    details: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    for detail in details:
        location = detail["loc"]
        faults = found.get(location[1])
        if faults is None:
            faults = found[location[1]] = {}
        if location[0] not in faults:
            faults[location[0]] = _CORE_CODES.get(detail["type"], Code.WRONG_TYPE)
    return found
