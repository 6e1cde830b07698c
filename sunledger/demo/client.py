"""The API as the demo uses it: JSON over HTTP with a bearer token."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol, cast


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes:
        """The next bytes; empty at the end."""
        ...


class ApiRefused(Exception):
    """The API answered with an error, of this HTTP status; the text is one line for people."""

    def __init__(self, status: int, phrase: str, body: bytes) -> None:
        super().__init__(_told(status, phrase, body))
        self.status = status


def _told(status: int, phrase: str, body: bytes) -> str:
    """Title, detail and faults of a problem (RFC 9457), and the status.

    Of an answer that is no problem, such as a page of a proxy, the status and its phrase are told alone.
    """
    try:
        problem = json.loads(body)
        parts = [f"{problem['title']}: {problem['detail']}"]
        parts += [f"{fault['field']}: {fault['detail']}" for fault in problem.get("errors", ())]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        parts = [phrase]
    return " ".join(f"{'; '.join(parts)} ({status})".split())


def _without_secrets(url: str) -> str:
    """An address without the user and the password that may stand in it."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


class ApiClient:
    """Calls one API. `token` is the bearer of every request once it is set; `address` is for messages."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.address = _without_secrets(url)
        self.token: str | None = None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def login(self, email: str, password: str) -> None:
        """Log in; later requests carry the token.

        Raises:
            ApiRefused: wrong e-mail or password.
        """
        self.token = self.post("/v1/auth/login", email=email, password=password)["access_token"]

    def post(self, path: str, *, bearer: str | None = None, **body: Any) -> dict[str, Any]:
        """POST a JSON object; the answer's JSON object.

        Raises:
            ApiRefused: the answer is an error; its title and detail.
        """
        return self._call("POST", path, json.dumps(body).encode(), bearer)

    def patch(self, path: str, **body: Any) -> dict[str, Any]:
        """PATCH a JSON object; the answer's JSON object; raises as `post`."""
        return self._call("PATCH", path, json.dumps(body).encode(), None)

    def get(self, path: str) -> dict[str, Any]:
        """GET a JSON object; raises as `post`."""
        return self._call("GET", path, None, None)

    def send(
        self, path: str, body: "_Readable", content_type: str, length: int, limit_s: float
    ) -> dict[str, Any]:
        """POST a body while it is read, `length` bytes; the answer's JSON object; raises as `post`."""
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        return self._call("POST", path, body, None, headers, limit_s)

    def _call(
        self,
        method: str,
        path: str,
        body: "bytes | _Readable | None",
        bearer: str | None,
        headers: Mapping[str, str] = {"Content-Type": "application/json"},
        limit_s: float = 30,
    ) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - our own API
            self._url + path, cast(Any, body), dict(headers), method=method
        )
        if bearer or self.token:
            request.add_header("Authorization", f"Bearer {bearer or self.token}")
        try:
            with self._opener.open(request, timeout=limit_s) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as exc:
            raise ApiRefused(exc.code, exc.reason, exc.read()) from None
