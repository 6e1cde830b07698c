"""The embedded ClickHouse as its clients see it: clickhouse-connect and plain HTTP."""

from __future__ import annotations

import datetime as dt
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from sunledger.embedded.chserver.pool import INSERT_CONNECTIONS
from sunledger.embedded.stack import Stack
from tests.support.workers import wait_until

UTC = dt.UTC


def connect(stack: Stack, **kwargs: Any) -> Client:
    return clickhouse_connect.get_client(
        dsn=stack.endpoints.clickhouse, autogenerate_session_id=False, **kwargs
    )


@pytest.fixture
def client(clickhouse: Stack) -> Iterator[Client]:
    client = connect(clickhouse)
    yield client
    client.close()


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex[:8]}"
    client.command(
        f"CREATE TABLE {name} (id UInt64, name String, amount Decimal(18, 6), at DateTime64(3, 'UTC'), "
        "note Nullable(String), tags Array(String), kind LowCardinality(String), "
        "kind_or_none LowCardinality(Nullable(String)), org UUID, ok Bool, score Float64) "
        "ENGINE = MergeTree ORDER BY id"
    )
    yield name
    client.command(f"DROP TABLE {name}")


def a_row(number: int = 1) -> list[Any]:
    return [
        number,
        "Ñandú 'quoted' \t \\ 太陽",
        Decimal("12.345678"),
        dt.datetime(2024, 2, 29, 12, 30, 15, 123000, tzinfo=UTC),
        None,
        ["a", "b'c"],
        "solar",
        None,
        uuid.UUID(int=number),
        True,
        1.5,
    ]


def http(stack: Stack, path: str = "/", body: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
    url = urllib.parse.urlsplit(stack.endpoints.clickhouse)
    request = urllib.request.Request(f"http://{url.hostname}:{url.port}{path}", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def login(stack: Stack) -> dict[str, str]:
    url = urllib.parse.urlsplit(stack.endpoints.clickhouse)
    return {"X-ClickHouse-User": url.username or "", "X-ClickHouse-Key": url.password or ""}


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_rows_come_back_as_they_went_in(clickhouse: Stack, table: str, compress: bool | str) -> None:
    """Every type used by the product survives a round trip, under each compression."""
    with connect(clickhouse, compress=compress) as client:
        rows = [a_row(number) for number in range(1, 1001)]
        summary = client.insert(table, rows, column_names="*")
        assert summary.written_rows == 1000
        result = client.query(f"SELECT * FROM {table} ORDER BY id")
        stored = [list(row) for row in result.result_rows]
    for row in stored:
        row[3] = row[3].replace(tzinfo=UTC)
    assert stored == rows


def test_arrow_insert_and_query(client: Client, table: str) -> None:
    """Arrow tables go in and come out, large ones as a stream."""
    count = 300_000
    arrow = pa.table(
        {
            "id": pa.array(range(count), pa.uint64()),
            "name": pa.array([f"n{i % 7}" for i in range(count)]),
            "tags": pa.array([["x"]] * count),
            "kind": pa.array(["solar"] * count).dictionary_encode(),
            "amount": pa.array([Decimal("1.5")] * count, pa.decimal128(18, 6)),
            "at": pa.array([1_700_000_000_000] * count, pa.timestamp("ms", "UTC")),
        }
    )
    client.insert_arrow(table, arrow)
    assert client.command(f"SELECT count(), sum(amount) FROM {table}") == [str(count), str(count * 3 // 2)]
    back = client.query_arrow(f"SELECT id, name, amount, at FROM {table} ORDER BY id", use_strings=True)
    assert back.num_rows == count
    assert back.column("id").to_pylist() == list(range(count))
    with client.query_row_block_stream(f"SELECT * FROM {table}") as blocks:
        assert sum(len(block) for block in blocks) == count


def test_data_frame_insert(client: Client, table: str) -> None:
    """A data frame goes in and comes out."""
    frame = client.query_df("SELECT number AS id, toString(number) AS name FROM numbers(10)")
    client.insert_df(table, frame)
    assert client.query_df(f"SELECT id, name FROM {table} ORDER BY id").equals(frame)


def test_raw_insert_and_formats(client: Client, table: str) -> None:
    """Text formats work both ways, and FORMAT in the statement wins."""
    client.raw_insert(table, ["id", "name"], b'{"id":1,"name":"a"}\n{"id":2,"name":"b"}\n', fmt="JSONEachRow")
    client.raw_insert(table, ["id", "name"], "3,c\n", fmt="CSV")
    assert (
        client.raw_query(f"SELECT id, name FROM {table} ORDER BY id", fmt="CSV") == b'1,"a"\n2,"b"\n3,"c"\n'
    )


def test_curl_style_requests(clickhouse: Stack, table: str) -> None:
    """GET ?query=, POST bodies, VALUES, and a statement split over URL and body."""
    auth = login(clickhouse)
    assert http(clickhouse, "/ping")[:2] == (200, b"Ok.\n")
    assert http(clickhouse, "/?query=SELECT%201%2B1", **auth)[:2] == (200, b"2\n")
    assert http(clickhouse, "/", b"SELECT 'x' AS a FORMAT JSONEachRow", **auth)[1] == b'{"a":"x"}\n'
    insert = f"INSERT INTO {table} (id, name) FORMAT JSONEachRow\n".encode() + b'{"id": 5, "name": "five"}\n'
    status, _, headers = http(clickhouse, "/", insert, **auth)
    assert status == 200
    assert '"written_rows":"1"' in headers["X-ClickHouse-Summary"]
    query = urllib.parse.quote(f"INSERT INTO {table} (id, name) FORMAT CSV")
    assert http(clickhouse, f"/?query={query}", b"6,six\n", **auth)[0] == 200
    assert (
        http(clickhouse, "/", f"INSERT INTO {table} (id, name) VALUES (7, 'FORMAT (')".encode(), **auth)[0]
        == 200
    )
    assert http(clickhouse, "/", f"INSERT INTO {table} (id) SELECT 8".encode(), **auth)[0] == 200
    status, body, headers = http(
        clickhouse, "/?default_format=TSV", f"SELECT id FROM {table} ORDER BY id".encode(), **auth
    )
    assert (status, body) == (200, b"5\n6\n7\n8\n")
    assert headers["X-ClickHouse-Format"] == "TSV"
    assert headers["X-ClickHouse-Query-Id"]


def test_get_cannot_write(clickhouse: Stack) -> None:
    """A GET request is read-only, as on the real server."""
    status, body, headers = http(clickhouse, "/?query=CREATE+DATABASE+nope", **login(clickhouse))
    assert status == 500
    assert headers["X-ClickHouse-Exception-Code"] == "164"
    assert b"READONLY" in body


def test_parameters(client: Client) -> None:
    """Server-side parameters of every kind, with characters that need escaping."""
    parameters = {
        "text": "it's\ta \\ tab\n",
        "ids": [1, 2, 3],
        "at": dt.datetime(2024, 1, 1, tzinfo=UTC),
        "none": None,
    }
    sql = "SELECT {text:String}, {ids:Array(UInt8)}, {at:DateTime('UTC')}, {none:Nullable(String)}"
    row = client.query(sql, parameters=parameters).first_row
    assert row[0] == parameters["text"]
    assert row[1] == parameters["ids"]
    assert row[2].replace(tzinfo=UTC) == parameters["at"]
    assert row[3] is None


def test_parameters_as_form_fields(clickhouse: Stack) -> None:
    """clickhouse-connect may send the statement and its parameters as a form."""
    with connect(clickhouse, form_encode_query_params=True) as client:
        assert client.query("SELECT {text:String}", parameters={"text": "it's\n"}).first_row == ("it's\n",)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT 1; CREATE TABLE zz (a Int8) ENGINE = Memory; SELECT 3 FORMAT JSON", "Multi-statements"),
        ("SELECT 1;SELECT 2", "Multi-statements"),
        ("SELECT 1 INTO OUTFILE '/tmp/x.csv'", "OUTFILE"),
        ("SELECT * FROM file('/etc/passwd', 'LineAsString')", "no files"),
        ("SELECT * FROM fIle /* ; */ ('/etc/passwd', LineAsString)", "no files"),
        ("INSERT INTO zz FROM INFILE '/etc/passwd' FORMAT TSV", "INFILE"),
        ("SELECT * FROM `file`('/etc/passwd', 'LineAsString')", "no files"),
        ("SELECT * FROM \"file\"('/etc/passwd', 'LineAsString')", "no files"),
        ("SELECT $$'$$, * FROM file('/etc/passwd', 'LineAsString') WHERE 'a' = ''", "no files"),
        ("SELECT * FROM url('file:///etc/passwd', 'LineAsString')", "no files"),
        ("SELECT * FROM '/etc/passwd'", "no files"),
        ("SELECT * FROM `/etc/passwd`", "no files"),
        ("SELECT * FROM `fi\\x6ce`('/etc/passwd', 'LineAsString')", "no files"),
        ("SELECT * FROM filesystem('/etc')", "no files"),
        ("SELECT * FROM system.one, '/etc/passwd'", "no files"),
        ("SELECT * FROM (SELECT 1) AS t, `/etc/passwd`", "no files"),
        ("SELECT (SELECT * FROM system.one AS o, '/etc/passwd') WHERE 1", "no files"),
        ("CREATE DATABASE zzz ENGINE = Filesystem", "no files"),
        ("CREATE DATABASE zzz ENGINE=`Filesystem`('/etc')", "no files"),
        ("SELECT * FROM Python(os)", "no files"),
        ("CREATE TABLE zz (a String) ENGINE = `File`(TSV, '/etc/passwd')", "no files"),
        ("INSERT INTO FUNCTION file('/tmp/x.csv', 'CSV', 'a Int32') VALUES (1)", "no files"),
        ("INSERT INTO TABLE FUNCTION file('/tmp/x.csv', 'CSV', 'a Int32') FORMAT CSV\n1\n", "no files"),
    ],
)
def test_what_a_real_server_refuses_is_refused(
    clickhouse: Stack, client: Client, sql: str, reason: str
) -> None:
    """Several statements at once, and files of the server's machine."""
    status, body, _ = http(clickhouse, "/", sql.encode(), **login(clickhouse))
    assert status == 400
    assert reason in body.decode()
    assert client.command("EXISTS TABLE zz") == 0


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT 1;", b"1\n"), ("SELECT 1 ; ;\n-- the end; really", b"1\n"),
        ("SELECT ';SELECT 2'", b";SELECT 2\n"),
        ("SELECT $$file('$$", b"file(\\'\n"),
        ("SELECT a, 'x' FROM (SELECT 1 AS a) AS t WHERE a IN (1, 2) ORDER BY a, 'y'", b"1\tx\n"),
        ("SELECT 1 AS engine WHERE engine = 1", b"1\n"),
        ("SELECT 'file(' /* INTO OUTFILE */", b"file(\n"), ("SELECT 1 AS `a;b`", b"1\n"),
    ],
)  # fmt: skip
def test_what_only_looks_like_it_runs(clickhouse: Stack, sql: str, answer: bytes) -> None:
    """In texts, names and comments anything may stand; one statement may end with semicolons."""
    assert http(clickhouse, "/", sql.encode(), **login(clickhouse))[:2] == (200, answer)


@pytest.mark.parametrize("form", [True, False])
def test_a_parameter_too_long_for_a_real_server_is_refused(clickhouse: Stack, form: bool) -> None:
    """What works here must work in production: a parameter of over 128 KiB is no good there."""
    with connect(clickhouse, form_encode_query_params=form) as client:
        longest = {"text": "x" * (128 * 1024)}
        assert client.query("SELECT length({text:String})", parameters=longest).first_row == (128 * 1024,)
        with pytest.raises(DatabaseError, match="Field value too long"):
            client.query("SELECT length({text:String})", parameters={"text": "x" * (128 * 1024 + 1)})


def test_settings_take_effect_and_do_not_stay(client: Client) -> None:
    """A setting in the URL holds for its own statement only."""
    sql = "SELECT getSetting('final'), getSetting('max_execution_time'), getSetting('join_use_nulls')"
    settings = {
        "final": 1,
        "max_execution_time": 7,
        "join_use_nulls": 1,
        "do_not_merge_across_partitions_select_final": 1,
    }
    assert client.query(sql, settings=settings).first_row == (True, 7, True)
    assert client.query(sql).first_row == (False, 0, False)
    assert client.query("SELECT getSetting('readonly')", settings={"readonly": 2}).first_row == (2,)
    assert client.query("SELECT getSetting('readonly')").first_row == (0,)


def test_unknown_setting_and_database(clickhouse: Stack) -> None:
    """Both are refused with ClickHouse's code, and the next request is not affected."""
    auth = login(clickhouse)
    for path, code in (("/?no_such_setting=1", "115"), ("/?database=no_such_database", "81")):
        assert http(clickhouse, path, b"SELECT 1", **auth)[2]["X-ClickHouse-Exception-Code"] == code
        assert http(clickhouse, "/", b"SELECT currentDatabase()", **auth)[1] == b"default\n"


def test_database_parameter(clickhouse: Stack, client: Client) -> None:
    """The database of a client is where its tables are, and nobody else's."""
    client.command("CREATE DATABASE IF NOT EXISTS other")
    with connect(clickhouse, database="other") as other:
        other.command("CREATE TABLE IF NOT EXISTS only_here (a Int8) ENGINE = MergeTree ORDER BY a")
        other.insert("only_here", [[1]], column_names=["a"])
        assert other.query("SELECT currentDatabase(), count() FROM only_here").first_row == ("other", 1)
    assert client.command("SELECT currentDatabase()") == "default"
    assert client.query("SELECT count() FROM other.only_here").first_row == (1,)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM nowhere", 60),
        ("SELEC 1", 62),
        ("SELECT throwIf(1)", 395),
        ("SELECT no_such_column", 47),
    ],
)
def test_errors_carry_their_code(client: Client, sql: str, code: int) -> None:
    """An engine error reaches the client with ClickHouse's number and text."""
    with pytest.raises(DatabaseError) as caught:
        client.query(sql)
    assert caught.value.code == code
    assert client.command("SELECT 1") == 1


def test_error_in_the_middle_of_a_stream(client: Client) -> None:
    """A query that fails after many rows were sent fails at the client too."""
    sql = "SELECT throwIf(number = 5000000) FROM numbers(6000000) SETTINGS max_threads = 1"
    with (
        pytest.raises(DatabaseError, match=r"throwIf|395|non-zero"),
        client.query_row_block_stream(sql) as blocks,
    ):
        for _ in blocks:
            pass


def test_failed_insert_leaves_nothing(client: Client, table: str) -> None:
    """A bad row, a cut block and an unknown table: error, and no row stored."""
    with pytest.raises(DatabaseError) as caught:
        client.raw_insert(table, ["id"], b'{"id":1}\n{"id":"abc"}\n', fmt="JSONEachRow")
    assert caught.value.code in (26, 27, 72)
    native = client.raw_query("SELECT number AS id FROM numbers(100)", fmt="Native")
    with pytest.raises(DatabaseError):
        client.raw_insert(table, ["id"], native[:-50], fmt="Native")
    with pytest.raises(DatabaseError) as caught:
        client.raw_insert("nowhere", ["id"], native, fmt="Native")
    assert caught.value.code == 60
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_an_insert_beyond_its_time_is_an_error(client: Client, table: str) -> None:
    """The engine ends it without a word, rows unstored; the answer must not say that they are stored."""
    rows = pa.table({"id": pa.array(range(1_000_000), pa.uint64()), "name": ["x" * 200] * 1_000_000})
    with pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
        client.insert_arrow(table, rows, settings={"max_execution_time": 0.05})
    client.insert_arrow(table, rows, settings={"max_execution_time": 600})
    assert client.command(f"SELECT uniqExact(id) FROM {table}") == 1_000_000


def test_time_limit(client: Client) -> None:
    """max_execution_time ends a query with code 159."""
    with pytest.raises(DatabaseError) as caught:
        client.command("SELECT count() FROM numbers(1000000000000)", settings={"max_execution_time": 1})
    assert caught.value.code == 159


def test_wrong_credentials(clickhouse: Stack) -> None:
    """No or wrong credentials are refused with ClickHouse's code, whatever way they are sent."""
    user = login(clickhouse)["X-ClickHouse-User"]
    for headers, status in (
        ({}, 401),
        ({"X-ClickHouse-User": user, "X-ClickHouse-Key": "wrong"}, 403),
        ({"X-ClickHouse-User": "default"}, 403),
        ({"Authorization": "Basic !!!"}, 403),
    ):
        answer = http(clickhouse, "/?query=SELECT%201", **headers)
        assert answer[0] == status
        assert answer[2]["X-ClickHouse-Exception-Code"] == "516"
    with pytest.raises(DatabaseError, match="516"):
        clickhouse_connect.get_client(
            host="127.0.0.1", port=clickhouse.ports["clickhouse"], username=user, password="wrong"
        )


def test_small_query_does_not_wait_for_a_heavy_one(clickhouse: Stack, client: Client, table: str) -> None:
    """Several heavy queries run; a small query and an insert still answer at once."""
    heavy = "SELECT count() FROM numbers_mt(1000000000000) WHERE sipHash64(number) = 1"
    errors: list[int | None] = []

    def run() -> None:
        with connect(clickhouse) as own:
            try:
                own.command(heavy, settings={"max_execution_time": 30})
            except DatabaseError as error:
                errors.append(error.code)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    mine = "query LIKE 'SELECT count() FROM numbers_mt(%'"
    running = f"SELECT count() FROM system.processes WHERE {mine}"
    deadline = time.monotonic() + 20
    while client.command(running) < len(threads):
        assert time.monotonic() < deadline
    begin = time.monotonic()
    assert client.command("SELECT 1") == 1
    client.insert(table, [a_row()], column_names="*")
    elapsed = time.monotonic() - begin
    client.command(f"KILL QUERY WHERE {mine} ASYNC")
    for thread in threads:
        thread.join()
    assert elapsed < 2
    assert errors == [394] * len(threads)


def test_what_a_statement_sets_ends_with_its_request(client: Client) -> None:
    """Connections are shared: SET and USE over HTTP reach nobody else, and no later request."""
    asked = "SELECT getSetting('max_block_size'), currentDatabase()"
    before = client.command(asked)
    client.command("SET max_block_size = 777")
    client.command("USE system")
    assert [client.command(asked) for _ in range(5)] == [before] * 5


def test_the_time_of_an_insert_begins_when_it_comes(clickhouse: Stack, client: Client) -> None:
    """One that waits for a connection until its time is over is not stored afterwards."""
    client.command(
        "CREATE TABLE slow (a UInt8, b UInt8 DEFAULT sleepEachRow(1)) ENGINE = MergeTree ORDER BY a"
    )
    client.command("CREATE TABLE quick (a UInt8) ENGINE = MergeTree ORDER BY a")

    def insert(table: str, limit_s: int) -> tuple[int, bytes]:
        asked = {"query": f"INSERT INTO {table} (a) FORMAT CSV", "max_execution_time": str(limit_s)}
        return http(clickhouse, f"/?{urllib.parse.urlencode(asked)}", b"1\n1\n1\n", **login(clickhouse))[:2]

    with ThreadPoolExecutor(INSERT_CONNECTIONS) as others:
        busy = [others.submit(insert, "slow", 60) for _ in range(INSERT_CONNECTIONS)]
        running = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
        wait_until(lambda: client.command(running) == INSERT_CONNECTIONS, what="inserts on every connection")
        status, body = insert("quick", 1)
        assert (status, b"TIMEOUT_EXCEEDED" in body) == (408, True)
        assert [done.result()[0] for done in busy] == [200] * INSERT_CONNECTIONS
    assert client.command("SELECT count() FROM quick") == 0
    assert insert("quick", 1)[0] == 200


def test_rows_survive_kill(stack_dir: Any) -> None:
    """What was acknowledged before kill -9 is there afterwards, on the same port."""
    with Stack(stack_dir, parts=["clickhouse"]) as stack:
        with connect(stack) as client:
            client.command("CREATE DATABASE sunledger")
            client.command(
                "CREATE TABLE sunledger.t (a UInt64) ENGINE = MergeTree ORDER BY a "
                "SETTINGS fsync_after_insert = 1"
            )
            client.insert("sunledger.t", [[n] for n in range(1000)], column_names=["a"])
            client.command("INSERT INTO sunledger.t SELECT number + 1000 FROM numbers(1000)")
        before = stack.endpoints
        stack.kill("clickhouse")
        stack.start("clickhouse")
        assert stack.endpoints == before
        with connect(stack) as client:
            assert client.command("SELECT count(), sum(a) FROM sunledger.t") == ["2000", "1999000"]
