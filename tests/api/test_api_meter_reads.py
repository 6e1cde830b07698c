"""Reads of devices: acknowledged before 202, one record per item, good or bad."""

import asyncio
import gzip
import json
import time
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from api_helpers import (
    Api,
    MakeApi,
    assert_problem,
    read,
    read_record_key,
    record_headers,
    topic_records,
    until,
)

from api.parts import ApiParts
from producers.publisher import Publisher
from schemas.identity import partition_of
from sunledger.embedded.stack import Endpoints, Stack


async def _device(api: Api, external_id: str = "meter-1") -> tuple[dict[str, Any], str]:
    device = await api.device(external_id)
    return device, (await api.device_token(device["id"]))["token"]


async def test_reads_are_in_the_topic_when_202_is_answered(
    brokered_api: Api, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Each read is one record with its lineage, in the partition of its device; good and bad alike."""
    device, token = await _device(brokered_api)
    sent = [read("1.5"), read(-1, 2), "not a read", read(2, 3), {"value": [{}]}]
    answer = await brokered_api.send_reads("meter-1", token, *sent)
    assert answer.status_code == 202
    body = answer.json()
    assert body["accepted"] == 2
    assert [item["code"] for item in body["rejected"]][:2] == ["out_of_range", "not_object"]
    assert [item["index"] for item in body["rejected"]] == [1, 2, 4]
    assert {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"} <= set(answer.headers)

    records = topic_records(endpoints.kafka, f"{kafka_prefix}reads")
    headers = [record_headers(record) for record in records]
    assert [found["line"] for found in headers] == ["1", "2", "3", "4", "5"]
    assert {found["source_ref"] for found in headers} == {body["receipt"]}
    assert {found["organization_id"] for found in headers} == {device["organization_id"]}
    assert {found["source"] for found in headers} == {"device"}
    assert all(found["received_at"].endswith("Z") for found in headers)
    assert {record.key().decode() for record in records} == {read_record_key(device)}
    assert {record.partition() for record in records} == {partition_of(read_record_key(device), 4)}
    assert json.loads(records[0].value()) == {
        "device_external_id": "meter-1",
        "type": "Delta",
        "start": "2024-05-01T00:00:00Z",
        "end": "2024-05-01T01:00:00Z",
        "value": "1.5",
        "unit": "Wh",
    }
    assert (records[2].value(), headers[2]["unreadable"]) == (b'"not a read"', "not_object")


@pytest.mark.parametrize("external_id", ["a/b c", "é-1", "x%2Fy", "con:1?"])
async def test_external_ids_of_any_form_are_addresses(brokered_api: Api, external_id: str) -> None:
    """An external id with slashes, spaces or other letters is found when its path is encoded."""
    _, token = await _device(brokered_api, external_id)
    answer = await brokered_api.send_reads(quote(external_id, safe=""), token)
    assert answer.status_code == 202, answer.text


async def test_packed_and_garbage_bodies(brokered_api: Api, endpoints: Endpoints, kafka_prefix: str) -> None:
    """gzip is read; garbage is a 400 or 422 of the request, and what one item holds is its own matter."""
    _, token = await _device(brokered_api)
    headers = {"Authorization": f"Bearer {token}"}
    good = json.dumps({"type": "Delta", "unit": "Wh", "reads": [read()]}).encode()

    async def post(content: bytes, **more: str) -> Any:
        return await brokered_api.http.post(
            "/meter-reads/meter-1", content=content, headers={**headers, **more}
        )

    assert (await post(gzip.compress(good), **{"Content-Encoding": "gzip"})).status_code == 202
    for bad in (b"", b"\xff", b"[" * 100_000, good[:-1], b"NaN", b'"\\ud800"', b"\0"):
        answer = await post(bad)
        assert answer.status_code in (400, 422), bad[:20]
    for items in (b"1e400", b"NaN", b"-Infinity", b"null", b'"a\\u0000b"', b"9" * 4000, b'{"value":1e400}'):
        answer = await post(good.replace(b'"reads": [', b'"reads": [' + items + b","))
        assert answer.status_code == 202, items[:20]
        assert (answer.json()["accepted"], [r["index"] for r in answer.json()["rejected"]]) == (1, [0])
    long = json.dumps({"type": "Delta", "unit": "Wh", "reads": [read("x" * 2_000_000), read()]}).encode()
    answer = await post(long)
    assert [item["code"] for item in answer.json()["rejected"]] == ["too_large"]
    assert len(topic_records(endpoints.kafka, f"{kafka_prefix}reads")) == 1 + 7 * 2 + 2


async def test_many_reads_go_in_one_request_up_to_the_limit(make_api: MakeApi, brokered: ApiParts) -> None:
    """A device that was offline sends thousands at once; above the limit it is told to split them."""
    api = await make_api(brokered, settings=replace(brokered.settings, max_reads=3000))
    await api.log_in()
    _, token = await _device(api)
    answer = await api.send_reads("meter-1", token, *[read(str(n)) for n in range(3000)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 3000)
    for count in (3001, 10_001):
        answer = await api.send_reads("meter-1", token, *[read()] * count)
        assert_problem(answer, 413, "body_too_large")


async def test_each_device_has_its_own_limit(make_api: MakeApi, brokered: ApiParts) -> None:
    """The third request of a device that may send two is 429 with the headers; another device goes on."""
    api = await make_api(brokered, settings=replace(brokered.settings, reads_limit="2/minute"))
    await api.log_in()
    _, one = await _device(api, "one")
    _, two = await _device(api, "two")
    assert [(await api.send_reads("one", one)).status_code for _ in range(2)] == [202, 202]
    answer = await api.send_reads("one", one)
    assert_problem(answer, 429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    assert (await api.send_reads("two", two)).status_code == 202


async def test_limits_hold_in_memory_while_redis_is_away(
    make_api: MakeApi, brokered: ApiParts, redis_server: Stack
) -> None:
    """With Redis hanging each process counts for itself; the token, seen lately, passes."""
    api = await make_api(brokered, settings=replace(brokered.settings, reads_limit="2/minute"))
    await api.log_in()
    _, token = await _device(api)
    assert (await api.send_reads("meter-1", token)).status_code == 202
    redis_server.pause("redis")
    try:
        said = [(await api.send_reads("meter-1", token)).status_code for _ in range(3)]
    finally:
        redis_server.resume("redis")
    assert said == [202, 202, 429]


async def test_without_a_broker_it_is_503_within_five_seconds(make_api: MakeApi, brokered: ApiParts) -> None:
    """No broker at all: every one of many requests at once gets 503 with Retry-After within 5 s."""
    publisher = Publisher("127.0.0.1:9")
    api = await make_api(brokered, publisher=publisher)
    await api.log_in()
    _, token = await _device(api)

    async def attempt() -> float:
        begun = time.monotonic()
        answer = await api.send_reads("meter-1", token)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) > 0
        kinds.add(answer.json()["type"].rsplit(":", 1)[-1])
        return time.monotonic() - begun

    kinds: set[str] = set()
    times = sorted(await asyncio.gather(*[attempt() for _ in range(40)]))
    assert times[len(times) // 2] < 5
    assert "broker_away" in kinds  # on a slow day Redis may be given up first, with 503 as well
    assert (await api.http.get("/v1/devices")).status_code == 200
    await asyncio.to_thread(publisher.close, 0)


async def test_a_broker_that_hangs_and_comes_back(
    whole_api: Api, stack: Stack, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """A paused broker is 503 within 5 s; when it is back the same request passes, without a restart."""
    _, token = await _device(whole_api)
    assert (await whole_api.send_reads("meter-1", token)).status_code == 202
    stack.pause("kafka")
    try:
        begun = time.monotonic()
        answer = await whole_api.send_reads("meter-1", token, read(7))
        assert time.monotonic() - begun < 5
        assert_problem(answer, 503, "broker_away")
    finally:
        stack.resume("kafka")

    async def passes() -> bool:
        return (await whole_api.send_reads("meter-1", token, read(7))).status_code == 202

    await until(passes, 30)
    ready = await whole_api.http.get("/readyz")
    assert ready.json() == {
        "ready": True,
        "parts": dict.fromkeys(["sql", "redis", "kafka", "clickhouse"], "ok"),
    }
    assert ready.status_code == 200
