"""A stand-in for Google on a free port: the token endpoint and the Sheets API, with their answers and errors.

What it knows of A1 notation, of fields and of tokens is its own, so that a mistake of the client shows.
"""

import gzip
import json
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

EMAIL = "reader@sunledger-test.iam.gserviceaccount.com"
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/spreadsheets.readonly"
PROPERTIES = {"title", "hidden", "sheetType", "gridProperties"}


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """A key; making one takes a moment, so each is made once."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Sheet:
    """One sheet of a spreadsheet.

    Attributes:
        rows: values as a person put them in: texts, numbers, booleans, moments, None.
        size: rows and columns of its grid; by default somewhat more than the values.
    """

    title: str
    rows: list[list[Any]]
    hidden: bool = False
    kind: str = "GRID"
    size: tuple[int, int] | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.size or (len(self.rows) + 7, max(map(len, self.rows), default=0) + 3)


@dataclass
class Book:
    """A spreadsheet, and who may read it."""

    sheets: list[Sheet]
    readers: set[str] = field(default_factory=lambda: {EMAIL})
    named: dict[str, str] = field(default_factory=dict)
    is_office_file: bool = False


Trouble = Callable[["Request"], None]
"""Answers one request to the API in place of the double."""


class Refused(Exception):
    """An error as Google tells it."""

    def __init__(self, code: int, status: str, message: str, *details: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        error: dict[str, Any] = {"code": code, "message": message, "status": status}
        if details:
            error["details"] = [*details]
        self.body = {"error": error}


def reason(text: str) -> dict[str, Any]:
    """The detail that names a reason."""
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": text, "domain": "googleapis.com", "metadata": {}}


class GoogleDouble:
    """The server. `books` may be changed at any time; `trouble` is what the next requests meet."""

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}
        self.trouble: deque[Trouble | None] = deque()
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Path and query of every request to the API."""
        self.tokens: set[str] = set()
        """Access tokens that are valid."""
        self.issued = 0
        self.token_trouble: deque[tuple[int, Any]] = deque()
        self.api_disabled = False
        self.before_values: Callable[[int], None] = lambda number: None
        """Called before the values of the n-th request for some are read, from 1."""
        self.values_asked = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Request,), {"double": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    def key(self, name: str = "ours") -> dict[str, str]:
        """The content of the account's key file."""
        pem = private_key(name).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "sunledger-test",
            "private_key_id": name,
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }

    def key_file(self, folder: Path) -> Path:
        """The key file."""
        path = folder / "google.json"
        path.write_text(json.dumps(self.key()))
        return path

    def token(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        """The answer of the token endpoint (RFC 7523)."""
        if self.token_trouble:
            return self.token_trouble.popleft()
        try:
            assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
            claims = jwt.decode(
                form["assertion"][0],
                private_key("ours").public_key(),
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=EMAIL,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
            assert claims["scope"] == SCOPE
            assert claims["exp"] - claims["iat"] <= 3600
        except jwt.InvalidSignatureError:
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        except (jwt.PyJWTError, AssertionError, KeyError):
            return 400, {"error": "invalid_request", "error_description": "Bad Request"}
        self.issued += 1
        token = f"ya29.{secrets.token_hex(20)}"
        self.tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def answer(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        """The answer of the API to an authenticated request."""
        found = re.fullmatch(r"/v4/spreadsheets/([^/:]+)(?:/values/([^/]+))?", path)
        if found is None:
            raise Refused(404, "NOT_FOUND", "Requested entity was not found.")
        if self.api_disabled:
            text = "Google Sheets API has not been used in project 1 before or it is disabled."
            raise Refused(403, "PERMISSION_DENIED", text, reason("SERVICE_DISABLED"))
        book = self.books.get(unquote(found[1]))
        if book is None:
            raise Refused(404, "NOT_FOUND", "Requested entity was not found.")
        if EMAIL not in book.readers:
            raise Refused(403, "PERMISSION_DENIED", "The caller does not have permission")
        if book.is_office_file:
            text = "This operation is not supported for this document"
            raise Refused(400, "FAILED_PRECONDITION", text)
        if found[2] is None:
            return _listing(book, query)
        return self._values(book, unquote(found[2]), query)

    def _values(self, book: Book, text: str, query: dict[str, str]) -> dict[str, Any]:
        if query.get("fields") != "range":
            self.values_asked += 1
            self.before_values(self.values_asked)
        sheet, (top, left, bottom, right) = _resolve(book, text)
        answer: dict[str, Any] = {
            "range": _a1(sheet.title, top, left, bottom, right),
            "majorDimension": "ROWS",
        }
        if query.get("fields") == "range":
            return {"range": answer["range"]}
        assert query == {
            "majorDimension": "ROWS",
            "valueRenderOption": "UNFORMATTED_VALUE",
            "dateTimeRenderOption": "SERIAL_NUMBER",
        }
        rows = [[_rendered(cell) for cell in row[left - 1 : right]] for row in sheet.rows[top - 1 : bottom]]
        for row in rows:
            while row and row[-1] == "":
                row.pop()
        while rows and not rows[-1]:
            rows.pop()
        return {**answer, "values": rows} if rows else answer


def _listing(book: Book, query: dict[str, str]) -> dict[str, Any]:
    """spreadsheets.get with a mask of fields."""
    mask = re.fullmatch(r"sheets\.properties\((.*)\)", query.get("fields", ""))
    wanted = set(re.findall(r"(\w+)(?:\([\w,]*\))?(?:,|$)", mask[1])) if mask else set()
    if not wanted or wanted - PROPERTIES:
        raise Refused(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
    found = []
    for sheet in book.sheets:
        properties: dict[str, Any] = {"title": sheet.title, "sheetType": sheet.kind}
        if sheet.hidden:
            properties["hidden"] = True
        if sheet.kind == "GRID":
            properties["gridProperties"] = {"rowCount": sheet.grid[0], "columnCount": sheet.grid[1]}
        found.append({"properties": {name: properties[name] for name in wanted & properties.keys()}})
    return {"sheets": found}


Box = tuple[int, int, int, int]
"""First row and column, last row and column."""


def _resolve(book: Book, text: str) -> tuple[Sheet, Box]:
    """Sheet and cells of a range, cut to the grid."""
    text = book.named.get(text, text)
    name, mark, cells = text.rpartition("!")
    if not mark:
        # A name alone is a sheet's, unless it reads as cells: then it means those of the first sheet.
        is_cells = not text.startswith("'") and _box(text) is not None
        name, cells = (book.sheets[0].title, text) if is_cells else (text, "")
    name = name[1:-1].replace("''", "'") if name.startswith("'") else name
    sheet = next((sheet for sheet in book.sheets if sheet.title == name), None)
    box = _box(cells) if cells else (1, 1, 10**9, 10**9)
    if sheet is None or box is None:
        raise Refused(400, "INVALID_ARGUMENT", f"Unable to parse range: {text}")
    rows, columns = sheet.grid
    if box[0] > rows or box[1] > columns:
        where = f"Range ({text}) exceeds grid limits. Max rows: {rows}, max columns: {columns}"
        raise Refused(400, "INVALID_ARGUMENT", where)
    return sheet, (box[0], box[1], min(box[2], rows), min(box[3], columns))


def _box(cells: str) -> Box | None:
    found = re.fullmatch(r"([A-Z]{0,3})(\d*)(?::([A-Z]{0,3})(\d*))?", cells)
    if not cells or found is None:
        return None
    left, top, right, bottom = found.groups()
    if right is None:
        right, bottom = left, bottom or top
        if not (left and top):
            return None
    return (
        int(top or 1),
        _column(left) if left else 1,
        int(bottom) if bottom else 10**9,
        _column(right) if right else 10**9,
    )


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _letters(number: int) -> str:
    return (_letters((number - 1) // 26) if number > 26 else "") + chr(65 + (number - 1) % 26)


def _a1(title: str, top: int, left: int, bottom: int, right: int) -> str:
    name = title if re.fullmatch(r"[A-Za-z_]+\d*", title) else "'" + title.replace("'", "''") + "'"
    first, last = f"{_letters(left)}{top}", f"{_letters(right)}{bottom}"
    return f"{name}!{first}" if first == last else f"{name}!{first}:{last}"


def _rendered(cell: Any) -> Any:
    """A value as the API gives it: unformatted, moments as days since 1899-12-30."""
    if isinstance(cell, datetime):
        cell = (cell - datetime(1899, 12, 30)).total_seconds() / 86_400
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return int(cell)
    return "" if cell is None else cell


class Request(BaseHTTPRequestHandler):
    """One request."""

    double: GoogleDouble
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""

    def do_POST(self) -> None:
        """The token endpoint."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        code, answer = self.double.token(parse_qs(body.decode())) if self.path == "/token" else (404, {})
        self.send(code, answer, **({"Location": answer["location"]} if "location" in answer else {}))

    def do_GET(self) -> None:
        """The API."""
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.double.asked.append((parts.path, query))
        trouble = self.double.trouble.popleft() if self.double.trouble else None
        if trouble is not None:
            return trouble(self)
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.double.tokens:
            text = "Request had invalid authentication credentials."
            return self.refuse(Refused(401, "UNAUTHENTICATED", text))
        try:
            self.send(200, self.double.answer(parts.path, query))
        except Refused as refused:
            self.refuse(refused)

    def refuse(self, refused: Refused, **headers: str) -> None:
        """Answer an error."""
        self.send(refused.code, refused.body, **headers)

    def send(self, code: int, body: Any, **headers: str) -> None:
        """Answer JSON, packed for those who say twice that they take it, as Google does."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        agent, accepts = self.headers.get("User-Agent", ""), self.headers.get("Accept-Encoding", "")
        if code == 200 and "gzip" in agent and "gzip" in accepts:
            data = gzip.compress(data)
            headers["Content_Encoding"] = "gzip"
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


def quota(retry_after: str | None = None) -> Trouble:
    """429, as Google words it."""
    text = (
        "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per user' of"
        " service 'sheets.googleapis.com' for consumer 'project_number:1'."
    )
    refused = Refused(429, "RESOURCE_EXHAUSTED", text, reason("RATE_LIMIT_EXCEEDED"))
    headers = {"Retry_After": retry_after} if retry_after else {}
    return lambda request: request.refuse(refused, **headers)


def server_error(code: int = 503) -> Trouble:
    """5xx."""
    return lambda request: request.refuse(Refused(code, "UNAVAILABLE", "The service is unavailable."))


def broken(request: Request) -> None:
    """The connection breaks before anything is said."""
    request.close_connection = True
    request.connection.close()


def cut_off(request: Request) -> None:
    """The connection breaks in the middle of an answer."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"values": [["Jane')
    request.close_connection = True


def slow(seconds: float) -> Trouble:
    """No answer for some time."""

    def wait(request: Request) -> None:
        time.sleep(seconds)
        broken(request)

    return wait


def expired(request: Request) -> None:
    """All tokens have expired."""
    request.double.tokens.clear()
    request.refuse(Refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."))


def elsewhere(url: str) -> Trouble:
    """A redirect."""
    return lambda request: request.send(302, {}, Location=url)
