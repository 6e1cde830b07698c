"""What a store answers, in our words: theirs may hold keys, names and addresses.

A HEAD request is answered without a body, so that the code is only the number of the status.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from producers.addresses import AddressRefused
from producers.errors import SourceChanged, SourceError, SourceForbidden, SourceUnavailable

_CHANGED: Final = {"404", "NoSuchKey", "NotFound", "412", "PreconditionFailed", "NoSuchVersion"}
_SLOW_DOWN: Final = {
    "429",
    "503",
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
}
_EXPIRED: Final = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
_CLOCK: Final = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_AGAIN: Final = {"408", "409", "ConditionalRequestConflict", "OperationAborted", "RequestTimeout"}
"""Answers of the 400s that another try may cure."""
_MEANINGS: Final[tuple[tuple[set[str], type[SourceError], str], ...]] = (
    (_CHANGED, SourceChanged, "the object was replaced or removed: {}"),
    (_SLOW_DOWN, SourceUnavailable, "the store asks to slow down: {}"),
    (_EXPIRED, SourceForbidden, "the credentials have expired: {}; give the dataset new ones"),
    (
        _CLOCK,
        SourceForbidden,
        "the store's clock and that of this machine differ by too much: {}; set the clock",
    ),
    (
        {"400"},
        SourceForbidden,
        "the store refuses: {} (often a wrong region, or credentials that have expired)",
    ),
)
Result = TypeVar("Result")


def told(call: Callable[[], Result]) -> Result:
    """The call's result.

    Raises:
        SourceUnavailable: no answer, a failure of the store, or it asks to slow down.
        SourceForbidden: it refuses: an operator's matter.
        SourceChanged: what was asked for is not there, or another one by now.
    """
    try:
        return call()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise translated(code, status) from None
    except (BotoCoreError, HTTPError, OSError) as error:
        refused = error.kwargs.get("error") if isinstance(error, HTTPClientError) else None
        if isinstance(refused, AddressRefused):
            raise SourceForbidden(f"the endpoint may not be connected to: {refused}") from None
        raise SourceUnavailable(f"no answer: {type(error).__name__}") from None


def translated(code: str, status: int) -> SourceError:
    """Our error for the code and status of an answer (Amazon S3 API reference, list of error codes)."""
    for codes, kind, text in _MEANINGS:
        if code in codes:
            return kind(text.format(code))
    if 300 <= status < 500 and code not in _AGAIN:
        return SourceForbidden(f"the store refuses: {code}")
    return SourceUnavailable(f"the store answers {code or status}")
