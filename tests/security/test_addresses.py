"""Server-side request forgery: which hosts an endpoint may name, when it is kept and when it is used.

What is meant by `inside`: a server that the service can reach and a sender cannot.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import pytest
from api_helpers import Api, MakeApi, assert_problem

from api.parts import ApiParts
from producers.addresses import PUBLIC_ONLY, AddressRefused, Hosts
from producers.contracts import Dataset, RunState, S3Location
from producers.errors import SourceError, SourceForbidden
from producers.poller import Poller
from producers.publisher import Publisher
from producers.rows import RowRecords
from producers.s3 import Bucket
from schemas.personal import Pseudonymizer, Sealer
from sunledger.embedded.stack import Endpoints
from sunledger.installation import environment
from sunledger.settings import SettingsFaults, load
from sunledger.settings import _Sources as Sources
from tests.producers.memory_store import Datasets, MemoryRunStore

METADATA = ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
INSIDE = (
    "127.0.0.1", "127.1.2.3", "::1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "100.64.0.1", "fc00::1",
    "0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1", "255.255.255.255", "198.18.0.1", "192.0.2.1",
)  # fmt: skip
DISGUISED = (
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::1", "2002:a9fe:a9fe::", "::7f00:1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1", "fec0::1",
)  # fmt: skip
SPELLINGS = ("localhost", "0", "0x7f.1", "2130706433", "017700000001", "127.1", "[::1]", "①②⑦.0.0.1")
"""Forms of 127.0.0.1 that resolvers take."""


def _resolving(*addresses: str) -> Callable[..., list[Any]]:
    def answer(host: str, port: int, **_: Any) -> list[Any]:
        found = [(socket.AF_INET6 if ":" in a else socket.AF_INET, a) for a in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in found]

    return answer


@pytest.mark.parametrize("address", [*METADATA, *INSIDE, *DISGUISED])
def test_what_is_not_public_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """As an address and behind a name, alone and beside a public one, and without saying what it is."""
    for addresses in ((address,), ("93.184.215.14", address), (address, "2606:2800:21f:cb07::1")):
        monkeypatch.setattr(socket, "getaddrinfo", _resolving(*addresses))
        with pytest.raises(AddressRefused) as told:
            PUBLIC_ONLY.resolve("files.example.org", 443)
        assert address not in str(told.value)


@pytest.mark.parametrize("text", SPELLINGS)
def test_other_spellings_of_this_machine_are_refused(text: str) -> None:
    """Whatever the resolver makes of a text is what is looked at; what it does not know is no host."""
    host = text.strip("[]")
    with pytest.raises((AddressRefused, OSError)):
        PUBLIC_ONLY.resolve(host, 80)
    url = f"http://{text}:8123/"
    try:
        resolved = bool(socket.getaddrinfo(host, 80))
    except (OSError, UnicodeError):
        resolved = False
    if resolved:
        with pytest.raises(AddressRefused):
            PUBLIC_ONLY.check_url(url)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_services_are_refused_whatever_is_allowed(address: str) -> None:
    """An operator who opens a whole network, or names the very address, does not open what hands out keys."""
    everything = Hosts(["0.0.0.0/0", "::/0", address if ":" not in address else f"[{address}]"])
    with pytest.raises(AddressRefused):
        everything.resolve(address, 80)


def test_public_addresses_need_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the name resolves to is handed back, all of it, for the connection."""
    monkeypatch.setattr(socket, "getaddrinfo", _resolving("93.184.215.14", "2606:2800:21f:cb07::1"))
    assert PUBLIC_ONLY.resolve("example.org", 443) == ["93.184.215.14", "2606:2800:21f:cb07::1"]


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "allowed"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000, "127.0.0.1", True),
        ("127.0.0.1:9000", "127.0.0.1", 8123, "127.0.0.1", False),
        ("127.0.0.1", "localhost", 1, "127.0.0.1", True),
        ("s3:9000", "s3", 9000, "172.18.0.5", True),
        ("S3:9000", "s3.", 9000, "172.18.0.5", True),
        ("s3:9000", "redis", 9000, "172.18.0.5", False),
        ("s3:9000", "s3", 6379, "172.18.0.5", False),
        ("10.1.0.0/16", "x", 443, "10.1.2.3", True),
        ("10.1.0.0/16", "x", 443, "10.2.2.3", False),
        ("10.1.0.0/16", "x", 443, "::ffff:10.1.2.3", True),
        ("[::1]:9000", "x", 9000, "::1", True),
        ("[::1]:9000", "x", 9001, "::1", False),
        ("fc00::/7", "x", 1, "fc00::5", True),
    ],
)
def test_operators_allow_by_name_address_network_and_port(
    monkeypatch: pytest.MonkeyPatch, entry: str, host: str, port: int, address: str, allowed: bool
) -> None:
    """An entry opens what it says and nothing beside it."""
    monkeypatch.setattr(socket, "getaddrinfo", _resolving(address))
    hosts = Hosts([entry])
    if allowed:
        assert [ip_address(found) for found in hosts.resolve(host, port)] == [ip_address(address)]
    else:
        with pytest.raises(AddressRefused):
            hosts.resolve(host, port)


@pytest.mark.parametrize("entry", ["a b", "http://s3", "10.0.0.1/16", "u@s3", "s3:port", "/", "s3/x"])
def test_an_entry_that_cannot_be_read_is_a_fault_of_the_settings(entry: str) -> None:
    """A typing error in the list does not open or close anything in silence."""
    with pytest.raises(SettingsFaults, match="SUNLEDGER_SOURCE_HOSTS"):
        load(Sources, source_hosts=f"s3:9000,{entry}")


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org", "http://", "http://user:secret@example.org", "http://example.org:99999",
     "http://[::1", "//example.org", "file:///etc/passwd", "gopher://example.org"],
)  # fmt: skip
def test_what_is_no_address_of_a_web_server_is_refused(url: str) -> None:
    """Only http and https, and no credentials in the address."""
    with pytest.raises(AddressRefused) as told:
        PUBLIC_ONLY.check_url(url)
    assert "secret" not in str(told.value)


class Recorder:
    """A web server that notes what it is asked and answers with a redirect, or nothing."""

    def __init__(self, location: str = "", status: int = 200) -> None:
        self.paths: list[str] = []
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                paths.append(self.path)
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                    self.send_header("x-amz-bucket-region", "eu-west-1")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        for method in ("GET", "HEAD", "PUT", "POST"):
            setattr(Handler, f"do_{method}", Handler.answer)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def inside() -> Iterator[Recorder]:
    """A server inside the network that nobody may reach."""
    made = Recorder()
    yield made
    made.close()


def _bucket(url: str, hosts: Hosts = PUBLIC_ONLY) -> Bucket:
    return Bucket(S3Location("bucket", "", url, "canary-key", "canary-secret"), hosts)


def test_no_connection_is_made_to_what_is_not_allowed(inside: Recorder) -> None:
    """The host is looked at for the connection itself, so that nothing is sent before it is refused."""
    for host in ("127.0.0.1", "localhost"):
        bucket = _bucket(f"http://{host}:{inside.port}")
        with pytest.raises(SourceForbidden, match="may not be connected to") as told:
            list(bucket.list())
        bucket.close()
        assert "canary" not in str(told.value)
    assert inside.paths == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_changes_its_address_opens_nothing(
    monkeypatch: pytest.MonkeyPatch, inside: Recorder, scheme: str
) -> None:
    """Public when it is kept, private when it is used (DNS rebinding): each connection looks again."""
    url = f"{scheme}://rebind.example.org:{inside.port}"
    monkeypatch.setattr(socket, "getaddrinfo", _resolving("93.184.215.14"))
    PUBLIC_ONLY.check_url(url)
    bucket = _bucket(url)
    monkeypatch.setattr(socket, "getaddrinfo", _resolving("127.0.0.1"))
    with pytest.raises(SourceForbidden):
        list(bucket.list())
    bucket.close()
    assert inside.paths == []


def test_what_was_looked_at_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, inside: Recorder
) -> None:
    """Between the look and the connection nothing is resolved a second time."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def once(host: str, port: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "files.test" else host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    bucket = _bucket(f"http://files.test:{inside.port}", Hosts(["files.test"]))
    bucket.put("key", b"x", "text/csv")
    bucket.close()
    assert inside.paths == ["/bucket/key"]
    assert asked.count("files.test") == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(inside: Recorder, status: int) -> None:
    """An allowed server that points elsewhere is not obeyed, even if elsewhere were allowed too."""
    sly = Recorder(f"http://127.0.0.1:{inside.port}/latest/meta-data/", status)
    bucket = _bucket(f"http://127.0.0.1:{sly.port}", Hosts(["127.0.0.1"]))
    try:
        with pytest.raises(SourceError):
            list(bucket.list())
    finally:
        bucket.close()
        sly.close()
    assert sly.paths
    assert inside.paths == []


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, inside: Recorder) -> None:
    """It would resolve the name itself, and what was looked at would mean nothing."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")
    bucket = _bucket("http://127.0.0.1:9")
    with pytest.raises(SourceForbidden):
        list(bucket.list())
    bucket.close()
    assert inside.paths == []


S3 = {"bucket": "b", "access_key": "a", "secret_key": "b"}


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:8123", "http://localhost:6379",
     "https://user:pass@93.184.215.14", "http://[::ffff:127.0.0.1]:8123", "http://0/"],
)  # fmt: skip
async def test_the_api_keeps_no_such_endpoint(make_api: MakeApi, parts: ApiParts, url: str) -> None:
    """Neither when a dataset is made nor when it is changed; the answer names the host and no more."""
    api: Api = await make_api(parts)
    await api.log_in()
    project = await api.project()
    dataset = await api.dataset(project)
    good = {key: dataset[key] for key in ("name", "provider", "source", "type", "organization_id", "target")}
    body = {**good, "project_ids": [project["id"]], "s3": {**S3, "endpoint_url": url}}
    for answer in (
        await api.http.post("/v1/datasets", json=body),
        await api.http.patch(f"/v1/datasets/{dataset['id']}", json={"s3": {**S3, "endpoint_url": url}}),
    ):
        told = assert_problem(answer, 422, "invalid")
        (fault,) = told["errors"]
        assert fault["field"] == "s3.endpoint_url"
        assert ":pass" not in answer.text
        if "@" not in url:
            assert repr(urlsplit(url).hostname) in fault["detail"]
        if "localhost" in url:  # what a name resolves to is not told
            assert "127.0" not in answer.text
            assert "::1" not in answer.text
    found = await api.http.get(f"/v1/datasets/{dataset['id']}")
    assert found.json()["s3"]["endpoint_url"] is None


def test_an_embedded_installation_keeps_what_its_operator_allows(
    endpoints: Endpoints, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull API or a double of Sheets on this machine can be tried beside the store of the installation."""
    monkeypatch.setenv("SUNLEDGER_SOURCE_HOSTS", "127.0.0.1:8765, crm.local")
    given = environment(tmp_path, endpoints)["SUNLEDGER_SOURCE_HOSTS"]
    hosts = load(Sources, source_hosts=given).hosts()
    hosts.check_url(endpoints.s3.url)
    hosts.check_url("http://127.0.0.1:8765/payments")
    with pytest.raises(AddressRefused):
        hosts.check_url("http://127.0.0.1:8766/payments")


def test_an_embedded_installation_may_read_its_own_store_only(
    endpoints: Endpoints, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sunledger up` allows the address and port of its S3 server: not its ClickHouse, nor its Redis."""
    monkeypatch.delenv("SUNLEDGER_SOURCE_HOSTS", raising=False)
    given = environment(tmp_path, endpoints)["SUNLEDGER_SOURCE_HOSTS"]
    hosts = load(Sources, source_hosts=given).hosts()
    hosts.check_url(endpoints.s3.url)
    for other in (endpoints.clickhouse, endpoints.redis, endpoints.api):
        with pytest.raises(AddressRefused):
            hosts.check_url(
                other.replace("redis://", "http://").split("//")[0] + "//127.0.0.1:" + _port(other)
            )


def _port(url: str) -> str:
    return str(urlsplit(url).port)


def test_a_run_against_a_forbidden_host_fails_with_the_reason(endpoints: Endpoints) -> None:
    """The poller refuses by itself, whatever is on record: a dataset may be older than the list of hosts."""
    s3 = endpoints.s3
    location = S3Location("b", "", s3.url, s3.access_key, s3.secret_key)
    dataset = Dataset("ds_1", "org_1", "s3", "365000000", location)
    store, publisher = MemoryRunStore(), Publisher("127.0.0.1:9")
    rows = RowRecords("payments", Pseudonymizer(b"0" * 32), Sealer(b"1" * 32))
    run_id = store.request(dataset.id)
    Poller(Datasets(dataset), store, publisher, rows, lambda: 0).poll()
    state, detail = store.run_state(run_id)
    assert state is RunState.FAILED
    assert "the endpoint may not be connected to" in str(detail)
    assert s3.secret_key not in str(detail)
