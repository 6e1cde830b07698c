"""Small inputs that become large ones, and large ones: refused and bounded; nobody else waits for them."""

import gzip
import io
import json
import resource
import time

import pytest
from api_helpers import Api, MakeApi, assert_problem

from api.errors import BadEncoding, BodyTooLarge, Invalid
from api.middleware import MAX_MEMBERS, SMALL_BYTES, gunzip
from api.parts import ApiParts
from api.reads.service import parse
from producers.csv_checks import MAX_RECORD_CHARS
from producers.errors import FileRefused
from producers.tabular import Table, TableRow, UnreadableRow
from schemas.fields import PROFILES

LIMIT = 8 * 1024 * 1024
HEADER = sorted(PROFILES["s3"])


def test_a_thousandfold_gzip_is_cut_off_at_the_limit() -> None:
    """10 GB in 10 MB are never held: unpacking stops one byte behind the limit."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = gzip.compress(b"\0" * 100_000_000, 9) * 20
    with pytest.raises(BodyTooLarge):
        gunzip(bomb, LIMIT)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 300  # what it takes to make the bomb here


def test_many_empty_members_take_no_time() -> None:
    """400,000 members that unpack to nothing: each would copy the rest, on the loop that serves everybody."""
    empty = gzip.compress(b"")
    begun = time.process_time()
    with pytest.raises(BadEncoding):
        gunzip(empty * (LIMIT // len(empty)), LIMIT)
    assert time.process_time() - begun < 5
    assert gunzip(empty * (MAX_MEMBERS - 1) + gzip.compress(b"x"), LIMIT) == b"x"


def test_gzip_inside_gzip_is_unpacked_once() -> None:
    """What is inside is bytes like any other."""
    inner = gzip.compress(b"\0" * 1_000_000)
    assert gunzip(gzip.compress(inner), LIMIT) == inner


BODIES = {
    "deep lists": b'{"type":"Delta","unit":"Wh","reads":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "deep objects": b'{"type":"Delta","unit":"Wh","reads":['
    + b'{"a":' * 300_000
    + b"1"
    + b"}" * 300_000
    + b"]}",
    "wide object": json.dumps({f"k{n}": n for n in range(200_000)}).encode(),
    "wide read": json.dumps(
        {"type": "Delta", "unit": "Wh", "reads": [{f"k{n}": n for n in range(100_000)}]}
    ).encode(),
    "long number": b'{"type":"Delta","unit":"Wh","reads":[{"value":' + b"9" * 1_000_000 + b"}]}",
    "huge exponent": b'{"type":"Delta","unit":"Wh","reads":[{"value":1e999999999,"starttimestamp":1e999,'
    b'"endtimestamp":-1e999}]}',
    "long text": json.dumps({"type": "x" * 5_000_000, "unit": "Wh", "reads": []}).encode(),
    "many escapes": b'{"type":"' + b"\\u0000" * 1_000_000 + b'"}',
    "repeated key": b"{" + b",".join([b'"type":"Delta"'] * 300_000) + b"}",
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("packed", [False, True])
async def test_bodies_that_grow_when_read(
    make_api: MakeApi, brokered: ApiParts, name: str, packed: bool
) -> None:
    """Deep, wide and long JSON is an answer below 500 within the limit of the body, plain and packed."""
    api: Api = await make_api(brokered)
    await api.log_in()
    device = await api.device()
    token = (await api.device_token(device["id"]))["token"]
    body = gzip.compress(BODIES[name]) if packed else BODIES[name]
    sent = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    if packed:
        sent["content-encoding"] = "gzip"
    answer = await api.http.post("/meter-reads/meter-1", content=body, headers=sent)
    assert answer.status_code in (202, 400, 413, 422), answer.text[:500]
    if answer.status_code == 202:
        assert answer.json()["accepted"] == 0
    else:
        assert_problem(answer, answer.status_code, answer.json()["type"].rpartition(":")[2])
    assert len(answer.content) < 200_000
    assert (await api.http.get("/healthz")).status_code == 200


def _rows(text: str) -> list[TableRow | UnreadableRow]:
    return list(Table(io.BytesIO(text.encode()), "s3"))


def test_a_file_with_100_000_columns_is_refused() -> None:
    """Before any row is published, with the number and the limit, and without the columns."""
    with pytest.raises(FileRefused) as told:
        _rows(",".join(f"c{n}" for n in range(100_000)) + "\n")
    assert len(told.value.detail) < 1000


def test_a_row_with_100_000_cells_is_one_unreadable_row() -> None:
    """The row behind it is read."""
    good = ",".join("x" for _ in HEADER)
    rows = _rows(",".join(HEADER) + "\n" + "," * 100_000 + "x\n" + good + "\n")
    assert [type(row) for row in rows] == [UnreadableRow, TableRow]


def test_a_huge_cell_is_cut_and_kept_as_unreadable() -> None:
    """A cell beyond the limit of a record is no row; what is kept of it is bounded."""
    huge = '"' + "x" * (MAX_RECORD_CHARS * 4) + '"' + "," * (len(HEADER) - 1)
    good = ",".join("x" for _ in HEADER)
    rows = _rows(",".join(HEADER) + "\n" + huge + "\n" + good + "\n")
    assert isinstance(rows[0], UnreadableRow)
    assert len(rows[0].raw) <= 16 * 1024
    assert isinstance(rows[-1], TableRow)


@pytest.mark.parametrize("data", [gzip.compress(b"\0" * 50_000_000), b"PK\x03\x04" + b"\0" * 1000])
def test_packed_objects_are_not_unpacked(data: bytes) -> None:
    """An object in a bucket is read as it is, whatever its name or its Content-Encoding says."""
    with pytest.raises(FileRefused):
        list(Table(io.BytesIO(data), "s3"))


async def test_who_is_not_logged_in_cannot_post_much(make_api: MakeApi, brokered: ApiParts) -> None:
    """A login with a million fields is refused unread: to name its faults would keep everybody waiting."""
    api: Api = await make_api(brokered)
    body = json.dumps({f"k{n}": n for n in range(200_000)}).encode()
    assert len(body) > SMALL_BYTES
    for sent, packed in ((body, {}), (gzip.compress(body), {"content-encoding": "gzip"})):
        headers = {"content-type": "application/json", **packed}
        answer = await api.http.post("/v1/auth/login", content=sent, headers=headers)
        assert_problem(answer, 413, "body_too_large")


def test_a_million_faults_are_not_listed() -> None:
    """Reads with a million unknown fields are one fault of the request."""
    body = b"{" + b",".join(b'"%x":1' % n for n in range(500_000)) + b"}"
    with pytest.raises(Invalid) as told:
        parse(body, 10_000)
    assert told.value.errors == []


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", "\0", "a/../../b", "x" * 100_000])
def test_a_time_zone_is_no_path(name: str) -> None:
    """Zones are files of the system: a name that leaves their folder is no zone, and is not quoted."""
    body = json.dumps({"type": "Delta", "unit": "Wh", "timezone": name, "reads": [{}]}).encode()
    with pytest.raises(Invalid) as told:
        parse(body, 10)
    assert [fault.field for fault in told.value.errors] == ["timezone"]
    assert "passwd" not in str(told.value.errors)
