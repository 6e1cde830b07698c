"""The four outcomes of a received row and the reason codes that go with them.

A reason names the fault and the field, never the value: values may be personal data.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from schemas.topics import RegistryKind


class Outcome(StrEnum):
    """What became of a received row; every row has exactly one."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    QUARANTINED = "quarantined"


class Code(StrEnum):
    """Reason codes. A reason is stored as `code` or `code:FIELD`."""

    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    REPEATED_MEMBER = "repeated_member"
    TOO_LARGE = "too_large"
    UNREADABLE_ROW = "unreadable_row"
    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    CONTROL_CHARACTER = "control_character"
    TOO_LONG = "too_long"
    BAD_TIMESTAMP = "bad_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    BAD_DECIMAL = "bad_decimal"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_CURRENCY = "unknown_currency"
    AMBIGUOUS_CURRENCY = "ambiguous_currency"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_UNIT = "unknown_unit"
    BAD_INTEGER = "bad_integer"
    BAD_COORDINATES = "bad_coordinates"
    BAD_PHONE = "bad_phone"
    BAD_ID = "bad_id"
    FORMULA_ERROR = "formula_error"
    END_BEFORE_START = "end_before_start"
    END_IN_FUTURE = "end_in_future"
    HISTORY_AFTER_ONBOARDING = "history_after_onboarding"
    HISTORY_TOO_OLD = "history_too_old"
    HISTORY_OVERLAP = "history_overlap"
    UNKNOWN_ORGANIZATION = "unknown_organization"
    UNKNOWN_DATASET = "unknown_dataset"
    UNKNOWN_DEVICE = "unknown_device"
    BAD_HEADER = "bad_header"
    STORE_REFUSED = "store_refused"
    KILLED_WORKER = "killed_worker"
    EMPTY_FILE = "empty_file"
    BAD_ENCODING = "bad_encoding"
    WRONG_NAME = "wrong_name"
    SOURCE_ERROR = "source_error"


WAITS_FOR: Final[Mapping[Code, RegistryKind]] = {
    Code.UNKNOWN_ORGANIZATION: "organizations",
    Code.UNKNOWN_DATASET: "datasets",
    Code.UNKNOWN_DEVICE: "devices",
}
"""Rows refused for one of these replay themselves when an object of this kind appears."""


def reason(code: Code, field: str | None = None) -> str:
    """The stored form of a reason: `code` or `code:FIELD`."""
    return f"{code.value}:{field}" if field else code.value
