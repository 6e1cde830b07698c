"""GET requests to one of Google's APIs: token, time limits, quotas, and answers of bounded size.

Google's advice for 429 and 5xx is truncated exponential back-off (Sheets API, "Usage limits"); its quotas
are per minute, so the pauses of one request grow to more than that together.
"""

import random
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson
import structlog
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from producers.addresses import AddressRefused, Hosts
from producers.backoff import Backoff
from producers.errors import SourceForbidden, SourceUnavailable
from producers.google_account import ServiceAccount
from producers.guarded_http import guarded_pools
from producers.metrics import POLL_FAILURES

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 8
"""How often one request is made before its source counts as away."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 64.0
LONGEST_RETRY_AFTER_S: Final = 300.0
"""A server that wants to be left alone for longer is asked again after this."""
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Largest answer, unpacked."""
ANSWER_LIMIT_S: Final = 180.0
"""Longest time that an answer may take to arrive."""
_SLICE_S: Final = 5.0
_CHUNK_BYTES: Final = 256 * 1024
_USER_AGENT: Final = "sunledger (gzip)"  # Google packs answers only for clients that say so here too


class GoogleRefusal(Exception):
    """An answer that asking again does not change (400, 403, 404, …).

    Attributes:
        http_status: of the answer.
        status: Google's name of it, such as `PERMISSION_DENIED`; empty when the body is not Google's.
        reason: `reason` of its details, such as `SERVICE_DISABLED`; empty without one.
    """

    def __init__(self, http_status: int, status: str, reason: str) -> None:
        super().__init__(f"{http_status} {status} {reason}".strip())
        self.http_status = http_status
        self.status = status
        self.reason = reason


class _Passing(Exception):
    """A quota, or the server's own trouble; `wait_s` is what it says about when to come back."""

    def __init__(self, text: str, wait_s: float | None) -> None:
        super().__init__(text)
        self.wait_s = wait_s


class AnswerTooLarge(Exception):
    """The answer exceeds `MAX_ANSWER_BYTES`; ask for less."""


class GoogleHttp:
    """Requests in the name of a service account. Blocks; belongs to one thread.

    Connects to two hosts only, both the operator's choice: the API's and the one that issues tokens.

    Args:
        account: who asks.
        url: base of the API, without a path.
        backoff: waits, and knows when to stop.
        first_pause_s: the pause after the first failure.
    """

    def __init__(
        self, account: ServiceAccount, url: str, backoff: Backoff, first_pause_s: float = FIRST_PAUSE_S
    ) -> None:
        self._account = account
        self._url = url.rstrip("/")
        self._backoff = backoff
        self._first_pause_s = first_pause_s
        hosts = Hosts(_place(address) for address in (url, account.token_url))
        self._http = guarded_pools(hosts, retries=False, timeout=Timeout(connect=5, read=60))

    def get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that a resource answers.

        Raises:
            GoogleRefusal: see there.
            AnswerTooLarge: see there.
            SourceUnavailable: no answer, or told to come back, at every attempt.
            SourceForbidden: the account gets no token, or one that is not taken; or the host is out of
                bounds.
            Stopped: the process is to end.
        """
        url = f"{self._url}{path}?{urlencode(query)}"
        refused: set[str] = set()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._object(url, refused)
            except (_Passing, SourceUnavailable, HTTPError) as error:
                ours = isinstance(error, _Passing | SourceUnavailable)
                trouble = str(error) if ours else f"no answer: {type(error).__name__}"
                told_s = error.wait_s if isinstance(error, _Passing) else None
            except AddressRefused as error:
                raise SourceForbidden(f"the address may not be connected to: {error}") from None
            if attempt < ATTEMPTS:
                self._wait(attempt, told_s, trouble)
        raise SourceUnavailable(trouble)

    def close(self) -> None:
        """Give the connections back."""
        self._http.clear()

    def _wait(self, attempt: int, told_s: float | None, trouble: str) -> None:
        """Wait before the next attempt, in short parts: who watches must not think that the poller hangs."""
        pause = min(self._first_pause_s * 2 ** (attempt - 1), LONGEST_PAUSE_S)
        pause = (pause if told_s is None else told_s) * random.uniform(1.0, 1.2)  # noqa: S311 - spreads only
        POLL_FAILURES.labels("google").inc()
        log.warning("google_is_asked_again", reason=trouble, pause_s=round(pause, 1))
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0:
            self._backoff.pause(min(left, _SLICE_S))
            self._backoff.check()

    def _object(self, url: str, refused: set[str]) -> dict[str, Any]:
        """The object of one request; `refused` are the tokens that were not taken."""
        self._backoff.check()
        token = self._account.token(self._http)
        status, headers, body = self._ask(url, token)
        if status == 200:
            return _object(body)
        refusal = _refusal(status, body)
        if _is_passing(refusal):
            raise _Passing(f"Google answers {refusal}", _told(headers))
        if status != 401:
            raise refusal
        if refused:
            raise SourceForbidden(f"Google does not take the access tokens of {self._account.email}")
        refused.add(token)
        self._account.forget(token)
        return self._object(url, refused)

    def _ask(self, url: str, token: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and unpacked body of one request."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": _USER_AGENT,
        }
        answer = self._http.request("GET", url, headers=headers, preload_content=False, redirect=False)
        try:
            return answer.status, answer.headers, self._body(answer)
        finally:
            answer.close()

    def _body(self, answer: BaseHTTPResponse) -> bytes:
        began, body = time.monotonic(), bytearray()
        for part in answer.stream(_CHUNK_BYTES, decode_content=True):
            self._backoff.check()
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise AnswerTooLarge(f"more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() - began > ANSWER_LIMIT_S:
                raise SourceUnavailable("the answer takes too long")
        return bytes(body)


def _place(url: str) -> str:
    """Host and port of a URL, as an entry of `Hosts`."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise SourceUnavailable("the answer is not JSON, or was cut off") from None
    if not isinstance(found, dict):
        raise SourceUnavailable("the answer is not a JSON object")
    return found


def _refusal(status: int, body: bytes) -> GoogleRefusal:
    """What an error's body says: `{"error": {"code", "message", "status", "details"}}`; never its message."""
    try:
        error = orjson.loads(body)["error"]
        details = [entry for entry in error.get("details", ()) if isinstance(entry, dict)]
        reason = next((str(entry["reason"]) for entry in details if "reason" in entry), "")
        return GoogleRefusal(status, str(error.get("status", ""))[:60], reason[:60])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return GoogleRefusal(status, "", "")


def _is_passing(refusal: GoogleRefusal) -> bool:
    """Whether asking again helps: quotas and the server's own trouble."""
    exhausted = refusal.status == "RESOURCE_EXHAUSTED"
    return exhausted or refusal.http_status in (408, 429) or refusal.http_status >= 500


def _told(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for (RFC 9110, section 10.2.3), within bounds; None without one."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        return min(Retry(0).parse_retry_after(text), LONGEST_RETRY_AFTER_S)
    except InvalidHeader:
        return None
