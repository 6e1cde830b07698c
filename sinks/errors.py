"""Errors of the store, sorted by what cures them.

StoreError
├── Retryable     the same call may succeed later: network, time-out, overload, memory
└── Refused       the store says no to these rows: type, constraint, parse errors; retrying cannot cure
"""

import re
from typing import Final

REFUSING_CODES: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        16,  # NO_SUCH_COLUMN_IN_TABLE
        20,  # NUMBER_OF_COLUMNS_DOESNT_MATCH
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  # ATTEMPT_TO_READ_AFTER_EOF
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        43,  # ILLEGAL_TYPE_OF_ARGUMENT
        44,  # ILLEGAL_COLUMN
        50,  # UNKNOWN_TYPE
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        158,  # TOO_MANY_ROWS
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        469,  # VIOLATED_CONSTRAINT
    }
)
"""ClickHouse error codes that blame the rows. Every other code is retried: a missing table or a wrong
password is cured by an operator, too many parts (252) and memory (241) by waiting; until then
nothing may be thrown away."""

_CODE: Final = re.compile(r"Code: (\d+)")


class StoreError(Exception):
    """The store did not do what was asked. `code` is ClickHouse's error code, None without one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Retryable(StoreError):
    """The same call may succeed later."""


class Refused(StoreError):
    """The store refuses these rows; retrying cannot cure it."""


def error_code(exc: BaseException) -> int | None:
    """ClickHouse's error code in the text of an exception, None without one."""
    found = _CODE.search(str(exc))
    return int(found.group(1)) if found else None


def classify(exc: Exception) -> Retryable | Refused:
    """Sort an exception of the driver by what cures it.

    The text of the original is not taken over: it may quote values of the rows.
    """
    if isinstance(exc, Retryable | Refused):
        return exc
    code = error_code(exc)
    if code is not None:
        kind = Refused if code in REFUSING_CODES else Retryable
        return kind(f"the store answered with code {code}", code)
    return Retryable(f"the store did not answer: {type(exc).__name__}")
