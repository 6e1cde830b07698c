"""The API as the demo uses it: JSON over HTTP with a bearer token."""

import json
import urllib.error
import urllib.request
from typing import Any


class ApiRefused(Exception):
    """The API answered with an error."""


class ApiClient:
    """Calls one API. `token` is the bearer of every request once it is set."""

    def __init__(self, url: str) -> None:
        self._url = url
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

    def _call(self, method: str, path: str, body: bytes | None, bearer: str | None) -> dict[str, Any]:
        request = urllib.request.Request(self._url + path, body, method=method)  # noqa: S310 - our own API
        request.add_header("Content-Type", "application/json")
        if bearer or self.token:
            request.add_header("Authorization", f"Bearer {bearer or self.token}")
        try:
            with self._opener.open(request, timeout=30) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as exc:
            raise ApiRefused(f"{method} {path}: {exc.code} {exc.read().decode(errors='replace')}") from None
