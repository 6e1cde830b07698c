"""The client of a pull API: what it sends, what it takes, where it goes, and how it says what is wrong."""

import datetime as dt
import gzip
import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pull_double import KEY, PullDouble, Reply, answer, item
from pull_world import NOON, SINCE, backoff
from s3_world import LOCAL

from producers import pull
from producers.addresses import PUBLIC_ONLY, Hosts
from producers.backoff import Backoff, Stopped
from producers.contracts import PullLocation
from producers.errors import FileRefused, SourceError, SourceForbidden, SourceUnavailable
from producers.pull import ATTEMPTS, MAX_WAIT_S, PullApi
from producers.pull_windows import Window
from schemas.outcomes import Code

START = datetime(2024, 5, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=1))
AT = "2024-05-01T08:00:00Z"


@pytest.fixture
def double() -> Iterator[PullDouble]:
    """A CRM with one payment on 1 May."""
    made = PullDouble()
    made.add(1, AT)
    yield made
    made.close()


def read(
    url: str,
    *,
    key: str = KEY,
    hosts: Hosts = LOCAL,
    pauses: list[float] | None = None,
    waits: Backoff | None = None,
) -> tuple[bytes, str]:
    """Body and hash of the answer for 1 May."""
    api = PullApi(PullLocation(url, SINCE, key), hosts, waits or backoff(pauses), lambda: NOON)
    try:
        with api.read(WINDOW) as found:
            return found.open().read(), found.content_hash
    finally:
        api.close()


def test_a_window_is_asked_for_with_the_key(double: PullDouble) -> None:
    """FROM and TO in UTC, the key in its header; a query of the address itself stays, a fragment does not."""
    body, content_hash = read(f"{double.url}?tenant=7&FROM=x#part")
    assert body == answer(item(1, AT))
    assert content_hash == hashlib.sha256(body).hexdigest()
    assert double.queries == [
        {"tenant": ["7"], "FROM": ["2024-05-01T00:00:00Z"], "TO": ["2024-05-02T00:00:00Z"]}
    ]
    assert double.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert double.headers[0]["Accept"] == "application/json"


def test_packed_answers(double: PullDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """gzip is unpacked, several members too; what is damaged or cut off is asked for again."""
    body = answer(*[item(number, AT) for number in range(2000)])
    packed = gzip.compress(body[:1000]) + gzip.compress(body[1000:])
    said = {"Content-Encoding": "gzip"}
    double.replies = [Reply(body=packed, headers=said)]
    assert read(double.url)[0] == body
    for wrong in (packed[:-9], b"no gzip", b"", packed[:30] + b"\0" * 40 + packed[70:]):
        double.replies = [Reply(body=wrong, headers=said)]
        assert read(double.url)[0] == answer(item(1, AT))
    double.replies = [Reply(body=body, headers={"Content-Encoding": "br"})]
    with pytest.raises(SourceError, match="not asked for, expected gzip"):
        read(double.url)


def test_an_answer_has_a_largest_size(double: PullDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted unpacked and while it comes in, so that a small packed one cannot fill the memory."""
    monkeypatch.setattr(pull, "MAX_ANSWER_BYTES", 1_000_000)
    double.zipped = True
    double.replies = [Reply(body=b" " * 60_000_000), Reply(body=b" " * 1_000_000)]
    with pytest.raises(FileRefused, match="more than 1000000 bytes") as told:
        read(double.url)
    assert told.value.code is Code.TOO_LARGE
    assert len(read(double.url)[0]) == 1_000_000


def test_a_large_answer_is_kept_in_a_file(double: PullDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back whole, and an attempt that broke off leaves nothing in it."""
    monkeypatch.setattr(pull, "IN_MEMORY_BYTES", 1000)
    body = answer(*[item(number, AT) for number in range(500)])
    double.replies = [Reply(body=b"x" * 70_000, cut=5), Reply(body=body)]
    assert read(double.url) == (body, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(double: PullDouble, status: int) -> None:
    """The key goes nowhere but to the address that was set."""
    other = PullDouble()
    double.replies = [Reply(status, headers={"Location": other.url})]
    with pytest.raises(SourceForbidden, match=f"redirects \\({status}\\)"):
        read(double.url)
    assert other.headers == []
    other.close()


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (Reply(401), SourceForbidden, "does not take the key"),
        (Reply(403), SourceForbidden, "does not take the key"),
        (Reply(400, answer(errors="John Doe")), SourceError, "answers 400, expected 200"),
        (Reply(404), SourceError, "answers 404, expected 200"),
        (Reply(422), SourceError, "answers 422, expected 200"),
        (Reply(204), SourceError, "answers 204, expected 200"),
        (Reply(206, answer()), SourceError, "answers 206, expected 200"),
    ],
)
def test_what_asking_again_cannot_cure(double: PullDouble, reply: Reply, kind: type, said: str) -> None:
    """It is asked once, and the reason says the status and nothing of the answer."""
    double.replies = [reply]
    with pytest.raises(SourceError, match=said) as told:
        read(double.url)
    assert type(told.value) is kind
    assert len(double.headers) == 1
    assert "John" not in str(told.value)


@pytest.mark.parametrize(
    "reply",
    [Reply(429), Reply(408), Reply(500), Reply(502), Reply(503, b"<html>"),
     Reply(body=answer(item(1, AT)), cut=9), Reply(429, headers={"Retry-After": "soon"}),
     Reply(503, headers={"Retry-After": "-5"})],
    ids=["429", "408", "500", "502", "503", "broken off", "unreadable wait", "negative wait"],
)  # fmt: skip
def test_what_asking_again_may_cure(double: PullDouble, reply: Reply) -> None:
    """It is asked again with growing pauses, a limited number of times."""
    double.replies = [reply]
    pauses: list[float] = []
    assert read(double.url, pauses=pauses)[0] == answer(item(1, AT))
    assert len(double.headers) == 2
    double.headers.clear()
    double.replies = [reply] * ATTEMPTS
    with pytest.raises(SourceUnavailable):
        read(double.url, pauses=pauses)
    assert len(double.headers) == ATTEMPTS


def test_retry_after_is_kept_to(double: PullDouble) -> None:
    """Seconds or a date; what is too long is left to a later run, and nothing is asked before."""
    pauses: list[float] = []
    later = datetime.now(UTC) + timedelta(seconds=40)
    double.replies = [
        Reply(429, headers={"Retry-After": "17"}),
        Reply(503, headers={"Retry-After": format_datetime(later, usegmt=True)}),
    ]
    read(double.url, pauses=pauses)
    assert 17 + 30 < sum(pauses) < 17 + 45
    assert max(pauses) <= 5, "who watches must see that it waits, and does not hang"
    double.headers.clear()
    double.replies = [Reply(429, headers={"Retry-After": str(int(MAX_WAIT_S) + 1)})]
    with pytest.raises(SourceError, match="asks to wait 121 s; a later run goes on here") as told:
        read(double.url)
    assert type(told.value) is SourceError
    assert len(double.headers) == 1


def test_a_server_that_says_nothing(double: PullDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence ends after a while, and so does an answer that trickles in."""
    monkeypatch.setattr(pull, "ATTEMPTS", 1)
    monkeypatch.setattr(pull, "READ_S", 0.3)
    double.replies = [Reply(silent_s=3)]
    with pytest.raises(SourceUnavailable, match="no answer: ReadTimeoutError"):
        read(double.url)
    monkeypatch.setattr(pull, "ANSWER_S", 0.5)
    double.replies = [Reply(body=b" " * 300, drip_s=0.02)]
    with pytest.raises(SourceUnavailable, match="did not come to its end"):
        read(double.url)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port and a name that does not exist are told without the query or the key."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with structlog.testing.capture_logs() as logs:
        for url in (f"http://127.0.0.1:{port}/x?token=secret", "http://no-such-host.invalid/x?token=secret"):
            with pytest.raises(SourceUnavailable, match="no answer: ") as told:
                read(url, hosts=Hosts(["127.0.0.1"]))
            assert "secret" not in str(told.value)
    assert logs
    assert "secret" not in repr(logs)
    assert KEY not in repr(logs)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel", "tab\t", "nul\0"])
def test_a_key_that_cannot_be_sent(double: PullDouble, key: str) -> None:
    """It is refused before anything is sent, and not repeated."""
    with pytest.raises(SourceForbidden, match="cannot be sent") as told:
        read(double.url, key=key)
    assert key not in str(told.value)
    assert double.headers == []


@pytest.mark.parametrize("hosts", [PUBLIC_ONLY, Hosts(["127.0.0.1:1"])])
def test_places_inside_are_not_connected_to(double: PullDouble, hosts: Hosts) -> None:
    """Without the operator's word no request leaves for an address that is not public."""
    with pytest.raises(SourceForbidden, match="may not be connected to"):
        read(double.url, hosts=hosts)
    for url in ("ftp://example.org/x", "http://u:secret@example.org/x", "http://169.254.169.254/latest"):
        with pytest.raises(SourceForbidden) as told:
            read(url, hosts=hosts)
        assert "secret" not in str(told.value)
    assert double.headers == []


def test_a_name_that_changes_its_address(double: PullDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Public when it is looked at and inside when it is used (DNS rebinding) opens nothing."""
    port = int(double.url.split(":")[2].split("/")[0])
    answers = iter(["93.184.215.14"])

    def resolve(host: str, wanted: int, **_: Any) -> list[Any]:
        address = next(answers, "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, wanted))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(SourceForbidden, match="may not be connected to"):
        read(f"http://crm.example.org:{port}/x", hosts=PUBLIC_ONLY)
    assert double.headers == []


def test_proxies_of_the_environment_are_not_used(double: PullDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the name, and our look at it would mean nothing."""
    other = PullDouble()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    assert read(double.url)[0] == answer(item(1, AT))
    assert other.headers == []
    other.close()


def test_a_certificate_that_is_not_trusted(double: PullDouble, tmp_path: Path) -> None:
    """The key is not sent to a server that cannot prove who it is, and it is not asked again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    double._server.socket = context.wrap_socket(
        double._server.socket, server_side=True, do_handshake_on_connect=False
    )
    with pytest.raises(SourceForbidden, match="certificate is not valid for its host, or not trusted"):
        read(double.url.replace("http://", "https://"))
    assert double.headers == []


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody signed, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(text + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_stopping_in_the_middle(double: PullDouble) -> None:
    """A poller that is told to stop does not wait for the end of an answer, or of a pause."""
    stop = threading.Event()
    double.on_request = stop.set
    double.replies = [Reply(429, headers={"Retry-After": "100"})]
    with pytest.raises(Stopped):
        read(double.url, waits=Backoff(stop))
    stop.clear()
    double.replies = [Reply(body=b" " * 100_000)]
    with pytest.raises(Stopped):
        read(double.url, waits=Backoff(stop))


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Wed, 99 May 2024 00:00:00 GMT", "Wed, 01 May 99999 00:00:00 GMT"]
)
def test_a_clock_that_cannot_be_read_is_no_matter(double: PullDouble, date: str) -> None:
    """Many servers say nothing useful; only a clock that is plainly wrong stops the run."""
    double.replies = [Reply(body=answer(), headers={"Date": date})]
    assert read(double.url)[0] == answer()


@pytest.mark.parametrize(("hours", "taken"), [(-23, True), (23, True), (25, False), (-25, False)])
def test_a_wrong_clock_stops_the_run(double: PullDouble, hours: int, taken: bool) -> None:
    """More than a day apart, and a window might be taken for over that is not."""
    double.clock = NOON + timedelta(hours=hours)
    if taken:
        assert read(double.url)[0] == answer(item(1, AT))
        return
    with pytest.raises(SourceError, match="more than a day apart"):
        read(double.url)
