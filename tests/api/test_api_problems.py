"""Every failure is a problem+json that says what to do and never what was sent."""

import gzip
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_helpers import EMAIL, PASSWORD, Api, MakeApi, assert_problem, read

from api.middleware import gunzip

SECRET = "Aisha-Bello-08031234567"


async def test_unknown_addresses_and_methods(api: Api) -> None:
    """404 and 405 are problems too, the latter with Allow."""
    assert_problem(await api.http.get("/nothing"), 404, "not_found")
    assert_problem(await api.http.get("/v1/projects/"), 404, "not_found")
    answer = await api.http.put("/v1/projects", json={})
    assert_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/projects", "/v1/ledger?record_id=1", "/v1/runs/x", "/v1/datasets"])
async def test_nobody_gets_in_without_a_token(make_api: MakeApi, path: str) -> None:
    """Without a bearer token it is 401 with WWW-Authenticate, whatever the address holds."""
    api = await make_api()
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        answer = await api.http.get(path, headers=headers)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


BODIES = {
    "not json": b"{",
    "not utf-8": b'{"name": "\xff\xfe"}',
    "deep": b"[" * 200_000,
    "deep object": b'{"name":' * 100_000,
    "long number": b'{"name": ' + b"9" * 10_000 + b"}",
    "empty": b"",
    "bare value": b"5",
    "nan": b'{"name": NaN}',
    "surrogate": b'{"name": "\\ud800"}',
    "nul": b'{"name": "a\\u0000b"}',
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/v1/organizations", "/v1/auth/login"])
async def test_garbage_bodies(api: Api, name: str, path: str) -> None:
    """Whatever a body is, the answer is 400 or 422 and the process goes on."""
    sent = {"content-type": "application/json"}
    answer = await api.http.post(path, content=BODIES[name], headers=sent)
    assert answer.status_code in (400, 422), answer.text
    assert_problem(answer, answer.status_code, "malformed_body" if answer.status_code == 400 else "invalid")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"name": "A", "name": "B"}', "`name`"),
        ('{"name": "A", "n\\u0061me": "B"}', "`name`"),
        ('{"name": "A", "Jane Doe": 1, "Jane Doe": 2}', "a member"),
        ('{"name": {"x": [{"y": 1, "y": 2}]}}', "a member"),
        ('{"name": ' + '{"x": ' * 400 + '{"y": 1, "y": 2}' + "}" * 401, "a member"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
async def test_a_member_that_stands_twice_is_refused(api: Api, body: str, named: str, encoding: str) -> None:
    """One of the two would be taken and nobody told which; a sender's own name is not repeated."""
    sent = {"content-type": "application/json; charset=utf-8"}
    answer = await api.http.post("/v1/organizations", content=body.encode(encoding), headers=sent)
    problem = assert_problem(answer, 422, "invalid")
    (error,) = problem["errors"]
    assert (error["field"], error["code"]) == ("body", "repeated_member")
    assert named in error["detail"]
    assert "Jane" not in answer.text


async def test_bodies_have_a_limit(make_api: MakeApi, parts: Any) -> None:
    """Over the limit it is 413: declared, streamed, or hidden in gzip."""
    api = await make_api(settings=replace(parts.settings, max_body_bytes=1000))
    await api.log_in()
    big = json.dumps({"name": "x" * 2000}).encode()

    async def pieces() -> Any:
        for _ in range(100):
            yield b" " * 100

    json_type = {"content-type": "application/json"}
    packed = {**json_type, "content-encoding": "gzip"}
    assert_problem(
        await api.http.post("/v1/organizations", content=big, headers=json_type), 413, "body_too_large"
    )
    answer = await api.http.post("/v1/organizations", content=pieces(), headers=json_type)
    assert_problem(answer, 413, "body_too_large")
    bomb = gzip.compress(b" " * 5_000_000)[:1000]
    answer = await api.http.post("/v1/organizations", content=bomb, headers=packed)
    assert_problem(answer, 413, "body_too_large")
    fine = gzip.compress(json.dumps({"name": "ok"}).encode())
    assert (await api.http.post("/v1/organizations", content=fine, headers=packed)).status_code == 201
    for bad in (fine[:-9], b"not gzip", b"", fine + b"rest"):
        answer = await api.http.post("/v1/organizations", content=bad, headers=packed)
        assert_problem(answer, 400, "bad_encoding")
    answer = await api.http.post("/v1/organizations", content=b"", headers={"content-encoding": "br"})
    assert_problem(answer, 415, "unsupported_media_type")


def test_gzip_of_several_members_is_one_body() -> None:
    """RFC 1952 allows members one after the other; gateways that append do so."""
    assert gunzip(gzip.compress(b"ab") + gzip.compress(b"cd"), 4) == b"abcd"
    with pytest.raises(Exception, match="too large"):
        gunzip(gzip.compress(b"ab") + gzip.compress(b"cd"), 3)
    with pytest.raises(Exception, match="not a complete gzip"):
        gunzip(zlib.compress(b"ab"), 10)


async def test_answers_never_quote_what_was_sent(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """No answer and no log line holds a value of the request, wherever it was put."""
    device = await api.device()
    token = (await api.device_token(device["id"]))["token"]
    answers = [
        await api.http.post("/v1/auth/login", json={"email": SECRET, "password": SECRET}),
        await api.http.post("/v1/auth/login", json={"email": EMAIL, "password": SECRET, SECRET: 1}),
        await api.http.post(
            "/v1/projects", json={"organization_id": SECRET, "name": SECRET, "country": SECRET}
        ),
        await api.http.post("/v1/devices", json={"project_id": [SECRET], "commissioned_on": SECRET}),
        await api.http.post("/v1/datasets", json={"source": SECRET, "s3": {"secret_key": {"a": SECRET}}}),
        await api.http.get("/v1/projects", params={"cursor": SECRET, "limit": SECRET}),
        await api.http.get("/v1/devices/" + SECRET),
        await api.send_reads(SECRET, token),
        await api.send_reads("meter-1", token, read(SECRET), SECRET, {SECRET: SECRET}),
        await api.send_reads("meter-1", token, type=SECRET, unit=SECRET, timezone=SECRET),
        await api.send_reads("meter-1", SECRET),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert SECRET not in answer.text
        assert SECRET not in str(answer.headers)
    captured = capsys.readouterr()
    assert SECRET not in captured.out + captured.err


async def test_an_unexpected_error_is_a_problem_too(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault of ours is a 500 problem; the log names the place and not the message."""

    async def broken() -> None:
        raise RuntimeError(SECRET)

    api.app.add_api_route("/broken", broken)
    assert_problem(await api.http.get("/broken"), 500, "internal_error")
    captured = capsys.readouterr()
    assert "broken:" in captured.out
    assert SECRET not in captured.out + captured.err


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), (None, False)]
)
async def test_request_ids_are_kept_or_made(api: Api, sent: str | None, kept: bool) -> None:
    """A harmless X-Request-ID comes back, any other is replaced."""
    answer = await api.http.get("/healthz", headers={"X-Request-ID": sent} if sent else {})
    assert (answer.headers["x-request-id"] == sent) is kept
    assert answer.headers["x-request-id"]


def _replace_by_folder(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.mkdir()


async def test_sql_away_is_a_503(make_api: MakeApi, tmp_path: Path) -> None:
    """A database that does not answer is 503 with Retry-After, not 500."""
    api = await make_api()
    await api.log_in()
    api.running.db.close()
    _replace_by_folder(tmp_path / "registry.db")
    answer = await api.http.get("/v1/projects")
    assert_problem(answer, 503, "store_away")
    assert int(answer.headers["retry-after"]) > 0


async def test_login_is_refused_alike_and_limited(make_api: MakeApi, parts: Any) -> None:
    """Unknown e-mail and wrong password are one answer; too many tries are 429 with the headers."""
    api = await make_api(settings=replace(parts.settings, login_limit="3/minute"))
    told = set()
    for email in (EMAIL.upper(), "nobody@example.org", "a\0b"):
        answer = await api.http.post("/v1/auth/login", json={"email": email, "password": "wrong"})
        told.add(assert_problem(answer, 401, "bad_credentials")["detail"])
    assert len(told) == 1
    for _ in range(2):
        answer = await api.http.post("/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
    answer = await api.http.post("/v1/auth/login", json={"email": EMAIL, "password": "wrong"})
    assert_problem(answer, 429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    assert answer.headers["ratelimit-limit"] == "3"
    assert answer.headers["ratelimit-remaining"] == "0"


async def test_readiness_names_what_fails(api: Api) -> None:
    """/readyz is 503 and names the parts that do not answer; /healthz asks nobody."""
    answer = await api.http.get("/readyz")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert {name for name, word in parts.items() if word == "ok"} == {"sql", "redis"}
    assert set(parts) == {"sql", "redis", "kafka", "clickhouse"}
    assert (await api.http.get("/healthz")).json() == {"status": "ok"}


async def test_metrics_name_routes_not_addresses(api: Api) -> None:
    """Request metrics carry the route template; ids and external ids are no labels."""
    device = await api.device("meter-in-metrics")
    await api.http.get(f"/v1/devices/{device['id']}")
    await api.http.get("/meter-in-metrics")
    text = (await api.http.get("/metrics")).text
    assert 'route="/v1/devices/{id}"' in text
    assert device["id"] not in text
    assert "meter-in-metrics" not in text
