"""The client of a pull API: asks for one window, keeps the answer aside, tells what is wrong in our words.

Errors hold neither the key nor the query of the address nor anything of an answer. Every connection goes
to an address that was looked at (`guarded_http`), and no redirect is followed: it would take the key along.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ssl import SSLCertVerificationError
from typing import IO, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from urllib3.exceptions import HTTPError, InvalidHeader, SSLError
from urllib3.util import Retry, Timeout

from producers.addresses import AddressRefused, Hosts
from producers.backoff import Backoff
from producers.contracts import PullLocation
from producers.errors import FileRefused, SourceError, SourceForbidden, SourceUnavailable
from producers.guarded_http import guarded_pools
from producers.hashing import HashingSource
from producers.pull_body import Body
from producers.pull_windows import Window
from schemas.outcomes import Code

CONNECT_S: Final = 5.0
READ_S: Final = 60.0
"""Longest silence of a server: some need a while for a day of payments."""
ANSWER_S: Final = 600.0
"""Longest time in which an answer must have come."""
MAX_ANSWER_BYTES: Final = 128 * 1024 * 1024
"""Largest answer, unpacked: some 300,000 payments in a day."""
IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
"""What of an answer is kept in memory; a larger one goes to a file without a name."""
ATTEMPTS: Final = 5
"""How often a window is asked for while the API is away or busy, before the run is given up for now."""
MAX_WAIT_S: Final = 120.0
"""Longest Retry-After that is waited for; a longer one is left to a later run."""
MAX_SKEW: Final = timedelta(days=1)
"""How far the clocks may be apart. Less is what days that are asked again make good (`pull_windows`)."""
_WAIT_SLICE_S: Final = 5.0
_BUSY: Final = frozenset({408, 425, 429})
_REFUSED: Final = frozenset({401, 403})


class Answer:
    """An answer that came completely. `open` gives it from its beginning, as often as needed."""

    def __init__(self, file: IO[bytes], content_hash: str) -> None:
        self._file = file
        self.content_hash = content_hash

    def open(self) -> IO[bytes]:
        """The answer's bytes, unpacked."""
        self._file.seek(0)
        return self._file


class PullApi:
    """One pull API, opened with its key. Calls block; belongs to one thread."""

    def __init__(
        self, location: PullLocation, hosts: Hosts, backoff: Backoff, now: Callable[[], datetime]
    ) -> None:
        """`hosts` are those that may be connected to, `now` gives aware times.

        Raises:
            SourceForbidden: the address or the key cannot be used.
        """
        self._location = location
        self._backoff = backoff
        self._now = now
        self._headers = _headers(location.key)
        try:
            hosts.check_url(location.url)
        except AddressRefused as refusal:
            raise SourceForbidden(f"the address may not be connected to: {refusal}") from None
        timeout = Timeout(connect=CONNECT_S, read=READ_S)
        self._pools = guarded_pools(hosts, num_pools=1, timeout=timeout, retries=False)

    @contextmanager
    def read(self, window: Window) -> Iterator[Answer]:
        """The answer for a window; an API that is away or busy is asked again for a while.

        Raises:
            SourceUnavailable: it stayed away; asking again later is right.
            SourceForbidden: it does not take the key, or its address may not be connected to.
            SourceError: it says no for good.
            FileRefused: its answer is too large.
            Stopped: the process is to end.
        """
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            content_hash = self._backoff.until_done(
                lambda: self._asked(window, file), (SourceUnavailable,), ATTEMPTS
            )
            yield Answer(file, content_hash)

    def close(self) -> None:
        """Give the connections back."""
        self._pools.clear()

    def _asked(self, window: Window, file: Any) -> str:
        """Ask once; the answer is in the file, its hash is returned."""
        file.seek(0)
        file.truncate()
        with _told():
            url = _url(self._location.url, window)
            response = self._pools.request(
                "GET", url, headers=self._headers, redirect=False, preload_content=False, decode_content=False
            )
            try:
                self._judge(response.status, response.headers)
                source = HashingSource(Body(response))
                self._keep(source, file)
                return source.content_hash
            finally:
                response.close()

    def _keep(self, source: HashingSource, file: Any) -> None:
        """Write an answer away, up to what it may be long and last."""
        began, size = time.monotonic(), 0
        while data := source.read(64 * 1024):
            self._backoff.check()
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                raise FileRefused(Code.TOO_LARGE, f"the answer has more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() - began > ANSWER_S:
                raise SourceUnavailable(f"the answer did not come to its end within {ANSWER_S:.0f} s")
            file.write(data)

    def _judge(self, status: int, headers: Mapping[str, str]) -> None:
        """Return for an answer that may be read, by its status and its clock."""
        if status in _BUSY or status >= 500:
            self._wait(status, headers.get("Retry-After"))
            raise SourceUnavailable(f"the API answers {status}")
        if status in _REFUSED:
            raise SourceForbidden(f"the API does not take the key: it answers {status}")
        if 300 <= status < 400:
            text = f"the API redirects ({status}), which is not followed: set the address it leads to"
            raise SourceForbidden(text)
        if status != 200:
            raise SourceError(f"the API answers {status}, expected 200")
        self._compare_clocks(headers.get("Date"))

    def _wait(self, status: int, retry_after: str | None) -> None:
        """Wait as long as the API asks for, in seconds or until a date (RFC 9110, 10.2.3)."""
        try:
            wait_s = Retry().parse_retry_after(retry_after or "0")
        except (InvalidHeader, ValueError, OverflowError):
            return  # unreadable: the usual pause between attempts is left
        if wait_s > MAX_WAIT_S:
            raise SourceError(
                f"the API answers {status} and asks to wait {wait_s:.0f} s; a later run goes on here"
            )
        while wait_s > 0:
            self._backoff.check()
            self._backoff.pause(min(wait_s, _WAIT_SLICE_S))
            wait_s -= _WAIT_SLICE_S

    def _compare_clocks(self, sent_at: str | None) -> None:
        """Refuse to read windows by a wrong clock: days would count as over that are not."""
        try:
            theirs = parsedate_to_datetime(sent_at or "")
        except ValueError:
            return  # says nothing, or nothing that can be read
        if theirs.tzinfo is None:
            theirs = theirs.replace(tzinfo=UTC)
        ours = self._now().astimezone(UTC)
        if abs(ours - theirs) > MAX_SKEW:
            found = f"the API's says {theirs.astimezone(UTC):%Y-%m-%d %H:%M}, ours {ours:%Y-%m-%d %H:%M}"
            raise SourceError(f"the clocks are more than a day apart (UTC): {found}")


def fault_of_key(key: str) -> str | None:
    """What a key holds that cannot stand in a header (RFC 6750, 2.1); None if it can be sent.

    The key is not repeated.
    """
    if any(letter.isspace() for letter in key):
        return "a space, a tab or a line end"
    if not key.isascii():
        return "a character that is not ASCII"
    return None if key.isprintable() else "a control character"


def _headers(key: str) -> dict[str, str]:
    """What every request carries.

    Raises:
        SourceForbidden: the key cannot be sent; set before that was looked at.
    """
    if fault := fault_of_key(key):
        raise SourceForbidden(f"the key holds {fault} and cannot be sent")
    return {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Authorization": f"Bearer {key}",
        "User-Agent": "sunledger",
    }


def _url(url: str, window: Window) -> str:
    """The address with the window; a query of its own is kept."""
    parts = urlsplit(url)
    own = [(name, text) for name, text in parse_qsl(parts.query, keep_blank_values=True)
           if name not in ("FROM", "TO")]  # fmt: skip
    query = urlencode([*own, ("FROM", window.from_text), ("TO", window.to_text)])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the connection in our words: theirs hold addresses with their query."""
    try:
        yield
    except AddressRefused as refusal:
        raise SourceForbidden(f"the address may not be connected to: {refusal}") from None
    except SSLError as error:
        if isinstance(error.args[0] if error.args else None, SSLCertVerificationError):
            raise SourceForbidden("the API's certificate is not valid for its host, or not trusted") from None
        raise SourceUnavailable("no secure connection: SSLError") from None
    except (HTTPError, OSError, ValueError) as error:
        raise SourceUnavailable(f"no answer: {type(error).__name__}") from None
