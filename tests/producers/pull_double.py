"""A CRM that serves the Odyssey-standard API as MicroPowerManager does, and every wrong answer.

MicroPowerManager's own behaviour: FROM and TO are compared with the time at which a payment was recorded,
both ends included; 400 for a range of more than 24 hours; `serialNumber` is `N/A` for a meter, whose number
is `meterId`; optional members are left out; `latitude` and `longitude` are texts.
"""

import gzip
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "bearer-key-of-a-crm"
PATH = "/api/odyssey/payments"


@dataclass
class Reply:
    """An answer that is not the usual one.

    Attributes:
        cut: so many bytes of the body are promised and not sent.
        silent_s: pause before the answer.
        drip_s: pause after each byte.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    silent_s: float = 0
    drip_s: float = 0


def answer(*payments: Any, errors: Any = "") -> bytes:
    """A body as the standard has it."""
    return json.dumps({"payments": payments, "errors": errors}).encode()


def item(number: int, at: str, **changes: Any) -> dict[str, Any]:
    """A payment for a solar home system; a change to None leaves the member out."""
    members = {
        "timestamp": at,
        "amount": 1500,
        "currency": "NGN",
        "transactionType": "INSTALLMENT_PAYMENT",
        "transactionId": str(number),
        "serialNumber": f"SHS-{number}",
        "customerId": f"C{number}",
        "customerName": f"John Doe {number}",
        "customerPhone": f"+2348000{number:05}",
        "latitude": "6.5244",
        "longitude": "3.3792",
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


class _Server(ThreadingHTTPServer):
    """Clients that hang up are part of the play."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class PullDouble:
    """The server. `close` ends it.

    Attributes:
        asked: FROM and TO of every request that came with the right key.
        headers: of every request.
        replies: wrong answers to the next requests, in order.
        by_day: wrong answers to every request whose FROM begins with that day.
        clock: what its Date header says; None sends none.
        zipped: whether it packs its answers.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.queries: list[dict[str, list[str]]] = []
        self.replies: list[Reply] = []
        self.by_day: dict[str, Reply] = {}
        self.clock: datetime | None = None
        self.zipped = False
        self.on_request: Callable[[], None] = lambda: None
        self._payments: list[tuple[datetime, dict[str, Any]]] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def add(self, number: int, at: str, **changes: Any) -> None:
        """Record a payment at a time."""
        self._payments.append((_moment(at), item(number, at, **changes)))

    def days(self) -> list[str]:
        """The days that were asked for, in order."""
        return [start[:10] for start, _ in self.asked]

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def reply(self, start: str, end: str) -> Reply:
        """The answer to a good request."""
        found = [one for at, one in self._payments if _moment(start) <= at <= _moment(end)]
        return Reply(body=answer(*found))

    def _judged(self, query: dict[str, list[str]], key: str) -> Reply:
        if key != f"Bearer {KEY}":
            return Reply(401, b'{"message":"Unauthenticated."}')
        start, end = query.get("FROM", [""])[0], query.get("TO", [""])[0]
        if not start or not end:
            return Reply(400, answer(errors="FROM and TO are required ISO8601 timestamps"))
        self.asked.append((start, end))
        if (_moment(end) - _moment(start)).total_seconds() > 86_400:
            return Reply(400, answer(errors="Range must be <= 24 hours"))
        if self.replies:
            return self.replies.pop(0)
        return self.by_day.get(start[:10]) or self.reply(start, end)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                double.on_request()
                parts = urlsplit(self.path)
                query = parse_qs(parts.query, keep_blank_values=True)
                double.headers.append(dict(self.headers))
                double.queries.append(query)
                reply = double._judged(query, self.headers.get("Authorization", ""))
                time.sleep(reply.silent_s)
                try:
                    self._send(reply)
                except OSError:
                    self.close_connection = True  # the client had enough

            def _send(self, reply: Reply) -> None:
                body, headers = reply.body, dict(reply.headers)
                if double.zipped and "Content-Encoding" not in headers:
                    body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
                self.send_response_only(reply.status)
                if double.clock:
                    self.send_header("Date", format_datetime(double.clock, usegmt=True))
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + reply.cut))
                self.end_headers()
                for part in [body] if not reply.drip_s else [body[at : at + 1] for at in range(len(body))]:
                    self.wfile.write(part)
                    time.sleep(reply.drip_s)
                self.close_connection = bool(reply.cut)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
