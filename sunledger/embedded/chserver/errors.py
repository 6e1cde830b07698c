"""ClickHouse errors: the code in an engine message, and the HTTP status the real server would answer with."""

from __future__ import annotations

import re
from http import HTTPStatus

_CODE = re.compile(r"Code: (\d+)\. ")

# As in ClickHouse's HTTPHandler: everything else is 500.
_STATUS = {
    **dict.fromkeys((192, 193, 194, 516), HTTPStatus.FORBIDDEN),
    **dict.fromkeys((497, 291), HTTPStatus.FORBIDDEN),
    **dict.fromkeys(
        (6, 26, 27, 33, 38, 39, 41, 43, 53, 62, 69, 70, 72, 115, 117, 131, 395, 457, 700),
        HTTPStatus.BAD_REQUEST,
    ),
    **dict.fromkeys((16, 46, 47, 60, 81), HTTPStatus.NOT_FOUND),
    **dict.fromkeys((48, 164), HTTPStatus.NOT_IMPLEMENTED),
    159: HTTPStatus.REQUEST_TIMEOUT,
    202: HTTPStatus.TOO_MANY_REQUESTS,
}
_STATUS[164] = HTTPStatus.INTERNAL_SERVER_ERROR

AUTHENTICATION_FAILED = 516
READONLY = 164
TIMEOUT_EXCEEDED = 159
_UNKNOWN_EXCEPTION = 1002


class ClickHouseError(Exception):
    """An error as ClickHouse words it; `code` goes into the X-ClickHouse-Exception-Code header."""

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = int(status or _STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR))

    @classmethod
    def of(cls, error: Exception) -> ClickHouseError:
        """Read the code out of an exception raised by chDB."""
        if isinstance(error, cls):
            return error
        text = str(error)
        # The innermost code is the cause when the engine wraps its own message.
        found = _CODE.search(text)
        code = int(found.group(1)) if found else _UNKNOWN_EXCEPTION
        return cls(code, text[found.start() :] if found else f"Code: {code}. DB::Exception: {text}")

    @classmethod
    def make(cls, code: int, name: str, text: str, status: int | None = None) -> ClickHouseError:
        """An error of this server itself, in ClickHouse's wording."""
        return cls(code, f"Code: {code}. DB::Exception: {text} ({name})", status)
