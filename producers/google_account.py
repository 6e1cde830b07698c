"""The installation's service account at Google: its key file, and access tokens for it.

Google's library signs and asks (RFC 7523); what it raises is told in our words, because its messages may
hold what the server answered.
"""

import json
import re
import threading
from functools import partial
from pathlib import Path
from typing import Any, Final

from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.auth.transport.urllib3 import Request
from google.oauth2.service_account import Credentials
from urllib3 import PoolManager

from producers.errors import SourceForbidden, SourceUnavailable

SCOPE: Final = "https://www.googleapis.com/auth/spreadsheets.readonly"
"""All that the account may do: read spreadsheets that were shared with it."""
TOKEN_TIMEOUT_S: Final = 20.0
_NEEDED: Final = ("client_email", "private_key", "token_uri")
_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}").fullmatch


class KeyFileUnusable(ValueError):
    """The file is no key of a service account. The message holds nothing of its content but `type`."""


class ServiceAccount:
    """A service account that reads spreadsheets. May be shared by threads.

    Attributes:
        email: the address that spreadsheets are shared with.
        token_url: where access tokens are issued.
    """

    def __init__(self, info: dict[str, Any]) -> None:
        """`info` is the content of the key file, as Google's console makes it.

        Raises:
            KeyFileUnusable: something is missing or cannot be read.
        """
        if info.get("type") != "service_account":
            found = str(info.get("type"))[:40]
            raise KeyFileUnusable(f"has the type {found!r}, expected 'service_account'")
        missing = [name for name in _NEEDED if not isinstance(info.get(name), str) or not info[name]]
        if missing:
            raise KeyFileUnusable(f"has no {', '.join(missing)}, which a service account's key has")
        try:
            self._credentials = _make(info)
        except (GoogleAuthError, ValueError, TypeError):
            raise KeyFileUnusable("has a private_key that cannot be read") from None
        self.email: str = info["client_email"]
        self.token_url: str = info["token_uri"]
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: Path) -> "ServiceAccount":
        """The account of a key file.

        Raises:
            KeyFileUnusable: there is no such file, or it is no such key.
        """
        try:
            info = json.loads(path.read_bytes())
        except OSError as error:
            raise KeyFileUnusable(f"cannot be read: {error.strerror}") from None
        except ValueError:
            raise KeyFileUnusable("is not JSON") from None
        if not isinstance(info, dict):
            raise KeyFileUnusable("is not a JSON object")
        return cls(info)

    def token(self, http: PoolManager) -> str:
        """An access token that is valid for some time; asked for when there is none.

        Raises:
            SourceUnavailable: no answer, or one that says to come back.
            SourceForbidden: the key is not taken any more.
            AddressRefused: tokens are issued where nobody may connect to.
        """
        with self._lock:
            if not self._credentials.valid:
                self._refresh(http)
            return str(self._credentials.token)

    def forget(self, token: str) -> None:
        """This token is not taken any more: the next one is a new one."""
        with self._lock:
            if self._credentials.token == token:
                self._credentials.token = None

    def _refresh(self, http: PoolManager) -> None:
        try:
            ask: Any = Request  # has no types, as the credentials
            once: Any = self._credentials.refresh
            once(partial(ask(http), timeout=TOKEN_TIMEOUT_S, redirect=False))
        except TransportError as error:
            cause = type(error.__cause__ or error).__name__
            raise SourceUnavailable(f"no answer from where access tokens are issued: {cause}") from None
        except RefreshError as error:
            if error.retryable:
                raise SourceUnavailable("no access token is issued at the moment") from None
            raise SourceForbidden(
                f"no access token is issued for the service account {self.email} ({_code_of(error)}):"
                " the operator must look at its key and at the clock of this machine"
            ) from None


def _make(info: dict[str, Any]) -> Credentials:
    make: Any = Credentials.from_service_account_info  # has no types
    made: Credentials = make(info, scopes=[SCOPE])
    return made


def _code_of(error: RefreshError) -> str:
    """The error code of RFC 6749, section 5.2, if that is what the server answered."""
    answer = error.args[1] if len(error.args) > 1 else None
    code = answer.get("error") if isinstance(answer, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE(code) else "no reason given"
