"""Payments by JSON: acknowledged before 202, one record per payment, good or bad, personal data replaced."""

import asyncio
import gzip
import hashlib
import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from api_helpers import Api, MakeApi, assert_problem, record_headers, topic_records, until

from api.parts import ApiParts
from api.tables import RunFile
from producers.publisher import Publisher
from schemas.identity import partition_of, payment_key
from sunledger.embedded.stack import Endpoints, Stack
from tests.conftest import ClickHouse
from tests.support.workers import Sender, WorkerProcess, payment, wait_until


async def _organization(api: Api) -> tuple[str, str]:
    """A new organisation's id, and a token of it."""
    organization_id = (await api.organization())["id"]
    return organization_id, (await api.organization_token(organization_id))["token"]


async def _dataset(api: Api, organization_id: str, source: str = "api", **more: Any) -> str:
    project = await api.project(organization_id=organization_id)
    s3 = more.pop("s3", None)
    return str((await api.dataset(project, source=source, s3=s3, **more))["id"])


def _receipt(api: Api, receipt: str) -> RunFile:
    with api.running.db.read() as session:
        found = session.query(RunFile).filter_by(source_ref=receipt).one()
        session.expunge(found)
        return found


async def test_payments_are_in_the_topic_when_202_is_answered(
    brokered_api: Api, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Each is one record in its identity's partition, with its lineage and without anything personal."""
    organization_id, token = await _organization(brokered_api)
    dataset_id = await _dataset(brokered_api, organization_id, id_namespace="crm 1")
    sent = [payment(1), payment(2, PAYMENT_AMOUNT="1.000,5", METER_ID=None), "no payment", payment(3, ID=7)]
    answer = await brokered_api.send_payments(token, *sent, dataset_id=dataset_id)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert body["accepted"] == 2
    first, second = body["rejected"]
    assert (first["index"], first["code"], first["field"]) == (1, "bad_decimal", "PAYMENT_AMOUNT")
    assert [(fault["code"], fault["field"]) for fault in first["further"]] == [("missing", "METER_ID")]
    assert (second["index"], second["code"], second["field"]) == (2, "not_object", None)
    assert {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"} <= set(answer.headers)
    assert "Secret Name" not in answer.text

    records = topic_records(endpoints.kafka, f"{kafka_prefix}payments")
    by_line = {record_headers(record)["line"]: record for record in records}
    assert sorted(by_line) == ["1", "2", "3", "4"]
    for line, record_id in (("1", "P1"), ("2", "P2"), ("4", "7")):
        key = payment_key(organization_id, "crm 1", record_id)
        record = by_line[line]
        assert record.key().decode() == key
        assert record.partition() == partition_of(key, 4)
        lineage = record_headers(record)
        assert lineage["source"] == "api"
        assert lineage["source_ref"] == body["receipt"]
        assert (lineage["organization_id"], lineage["dataset_id"]) == (organization_id, dataset_id)
        assert lineage["received_at"].endswith("Z")
        assert lineage["sealed"].startswith("v1.")
    assert record_headers(by_line["3"])["unreadable"] == "not_object"
    everything = b"".join(record.value() for record in records)
    assert b"Secret Name" not in everything
    assert b"+23480" not in everything
    assert b'"ID":7' in by_line["4"].value()


async def test_a_request_has_a_receipt(brokered_api: Api) -> None:
    """Rows, hash of the body, whose it is and of which dataset are on record when 202 comes."""
    organization_id, token = await _organization(brokered_api)
    answer = await brokered_api.send_payments(token, payment(1), "bad")
    found = await asyncio.to_thread(_receipt, brokered_api, answer.json()["receipt"])
    assert (found.source, found.state, found.received) == ("api", "done", 2)
    assert (found.organization_id, found.dataset_id, found.run_id) == (organization_id, None, None)
    assert found.content_hash == hashlib.sha256(answer.request.content).hexdigest()
    assert found.detail is None
    assert found.finished_at is not None
    assert found.finished_at >= found.claimed_at
    nothing = await brokered_api.send_payments(token)
    assert nothing.json()["accepted"] == 0
    found = await asyncio.to_thread(_receipt, brokered_api, nothing.json()["receipt"])
    assert (found.state, found.received) == ("done", 0)


async def test_a_dataset_must_be_the_organisations_own_and_take_requests(brokered_api: Api) -> None:
    """Unknown and another's are 404; another source, paused and archived are 409; topic's and api's pass."""
    organization_id, token = await _organization(brokered_api)
    other_id, _ = await _organization(brokered_api)

    async def send(dataset_id: str) -> Any:
        return await brokered_api.send_payments(token, payment(1), dataset_id=dataset_id)

    for unknown in ("ds_x", "x", await _dataset(brokered_api, other_id)):
        assert_problem(await send(unknown), 404, "not_found")
    s3 = {"bucket": "b", "access_key": "a", "secret_key": "s"}
    of_s3 = await _dataset(brokered_api, organization_id, "s3", s3=s3)
    assert "`s3`" in assert_problem(await send(of_s3), 409, "conflict")["detail"]
    assert (await send(await _dataset(brokered_api, organization_id, "topic"))).status_code == 202
    mine = await _dataset(brokered_api, organization_id)
    assert (await send(mine)).status_code == 202
    path = f"/v1/datasets/{mine}"
    assert (await brokered_api.http.patch(path, json={"state": "paused"})).status_code == 200
    assert "paused" in assert_problem(await send(mine), 409, "conflict")["detail"]
    assert (await brokered_api.http.delete(path)).status_code == 204
    assert_problem(await send(mine), 409, "archived")


async def test_a_datasets_rules_give_the_verdict(brokered_api: Api) -> None:
    """Fields that its programme requires besides, and its currency for a name that several have."""
    organization_id, token = await _organization(brokered_api)
    strict = await _dataset(
        brokered_api, organization_id, required_fields=["FINANCING_ID"], default_currency="XOF"
    )
    rows = [payment(1, PAYMENT_CURRENCY="CFA"), payment(2, FINANCING_ID="F", PAYMENT_CURRENCY="CFA")]
    plain = (await brokered_api.send_payments(token, *rows)).json()
    assert [(fault["index"], fault["code"]) for fault in plain["rejected"]] == [
        (0, "ambiguous_currency"),
        (1, "ambiguous_currency"),
    ]
    told = (await brokered_api.send_payments(token, *rows, dataset_id=strict)).json()
    assert [(fault["index"], fault["code"], fault["field"]) for fault in told["rejected"]] == [
        (0, "missing", "FINANCING_ID")
    ]


async def test_packed_garbage_and_oversized_bodies(make_api: MakeApi, brokered: ApiParts) -> None:
    """gzip is read; what is no request is 400 or 422 and publishes nothing; too many are 413."""
    api = await make_api(brokered, settings=replace(brokered.settings, max_payments=30))
    await api.log_in()
    _, token = await _organization(api)
    headers = {"Authorization": f"Bearer {token}"}

    async def post(content: bytes, **more: str) -> Any:
        return await api.http.post("/v1/payments", content=content, headers={**headers, **more})

    good = json.dumps({"payments": [payment(1)]}).encode()
    assert (await post(gzip.compress(good), **{"Content-Encoding": "gzip"})).json()["accepted"] == 1
    for bad in (b"", b"\xff", b"[" * 100_000, good[:-1], good.decode().encode("utf-16"), b"\0"):
        assert_problem(await post(bad), 400, "malformed_body")
    for bad in (b"1", b"NaN", b"[]", b"{}", b'{"payments":{}}', b'{"payments":[],"dataset":"x"}',
                b'{"payments":[],"dataset_id":7}', b'{"payments":[],"dataset_id":""}'):  # fmt: skip
        assert_problem(await post(bad), 422, "invalid")
    assert (await api.send_payments(token, *[{}] * 30)).status_code == 202
    detail = assert_problem(await api.send_payments(token, *[{}] * 31), 413, "body_too_large")["detail"]
    assert "30" in detail
    assert_problem(await post(b" " * (8 * 1024 * 1024) + good), 413, "body_too_large")
    long = payment(1, NOTES="x" * 2_000_000)
    answer = await api.send_payments(token, long, payment(2))
    assert [(fault["index"], fault["code"]) for fault in answer.json()["rejected"]] == [(0, "too_large")]


async def test_ten_thousand_payments_go_in_one_request(
    make_api: MakeApi, brokered: ApiParts, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """A day of a large integrator fits one request, and every payment of it is in the topic."""
    patient = Publisher(endpoints.kafka, delivery_timeout_s=60)
    api = await make_api(
        brokered, publisher=patient, settings=replace(brokered.settings, publish_timeout_s=60)
    )
    await api.log_in()
    _, token = await _organization(api)
    answer = await api.send_payments(token, *[payment(number) for number in range(10_000)])
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == 10_000
    await asyncio.to_thread(patient.close)
    assert len(topic_records(endpoints.kafka, f"{kafka_prefix}payments")) == 10_000


async def test_each_organisation_has_its_own_limit(make_api: MakeApi, brokered: ApiParts) -> None:
    """The third request of an organisation that may send two is 429, with any of its tokens."""
    api = await make_api(brokered, settings=replace(brokered.settings, payments_limit="2/hour"))
    await api.log_in()
    one_id, one = await _organization(api)
    _, two = await _organization(api)
    again = (await api.organization_token(one_id))["token"]
    assert [(await api.send_payments(token)).status_code for token in (one, again)] == [202, 202]
    answer = await api.send_payments(one)
    assert_problem(answer, 429, "too_many_requests")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await api.send_payments(two)).status_code == 202


async def test_without_a_broker_it_is_503(make_api: MakeApi, brokered: ApiParts) -> None:
    """No broker: 503 with Retry-After well before a client gives up, and no receipt says that rows came."""
    publisher = Publisher("127.0.0.1:9")
    api = await make_api(brokered, publisher=publisher)
    await api.log_in()
    _, token = await _organization(api)
    begun = time.monotonic()
    answer = await api.send_payments(token, payment(1))
    assert time.monotonic() - begun < 30  # 5 s on a machine that has time; this one is shared
    assert_problem(answer, 503, "broker_away")
    assert int(answer.headers["retry-after"]) > 0
    with api.running.db.read() as session:
        assert session.query(RunFile).count() == 0
    await asyncio.to_thread(publisher.close, 0)


async def test_a_broker_that_hangs_and_comes_back(
    brokered_api: Api, stack: Stack, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """A paused broker is 503, and the receipt stays open; sent again the payment gets the same key."""
    _, token = await _organization(brokered_api)
    assert (await brokered_api.send_payments(token, payment(1))).status_code == 202
    stack.pause("kafka")
    try:
        answer = await brokered_api.send_payments(token, payment(2))
        assert_problem(answer, 503, "broker_away")
    finally:
        stack.resume("kafka")
    with brokered_api.running.db.read() as session:
        (left,) = session.query(RunFile).filter_by(state="claimed").all()
        assert (left.received, left.source) == (0, "api")
        assert "acknowledged" in (left.detail or "")

    async def passes() -> bool:
        return (await brokered_api.send_payments(token, payment(2))).status_code == 202

    await until(passes, 60)
    keys = {record.key() for record in topic_records(endpoints.kafka, f"{kafka_prefix}payments")}
    assert len(keys) == 2


@pytest.mark.timeout(240)
async def test_a_worker_judges_as_the_answer_said(
    whole_api: Api, clickhouse: ClickHouse, endpoints: Endpoints, kafka_prefix: str, tmp_path: Any
) -> None:
    """Accepted rows are accepted, rejected ones quarantined for the same reason; sent again, known."""
    organization_id, token = await _organization(whole_api)
    sent = [
        payment(1, PAYMENT_AMOUNT=0.1),
        payment(2, PAYMENT_AMOUNT=5000),
        payment(3, METER_ID=45987.5),
        payment(4, CUSTOMER_PHONE=2.34567e11),
        payment(5, PAYMENT_AMOUNT="-12.50", TRANSACTION_TYPE="reversal"),
        [],
    ]
    first = (await whole_api.send_payments(token, *sent)).json()
    second = (await whole_api.send_payments(token, *sent)).json()
    sender = Sender(endpoints.kafka, kafka_prefix)
    sender.organization(organization_id)
    worker = WorkerProcess(tmp_path, endpoints.kafka, kafka_prefix, clickhouse.url, clickhouse.database)
    try:
        await asyncio.to_thread(
            wait_until, lambda: clickhouse.value("SELECT count() FROM ledger") == 12, 120, "12 outcomes"
        )
        query = (
            "SELECT line, outcome, arrayStringConcat(reasons, ' ') FROM ledger"
            " WHERE source_ref = {ref:String} AND source = 'api' ORDER BY line"
        )
        rejected = {fault["index"]: fault for fault in first["rejected"]}
        assert sorted(rejected) == [2, 3, 5]
        for line, outcome, reasons in clickhouse.rows(query, ref=first["receipt"]):
            fault = rejected.get(int(str(line)) - 1)
            wanted = fault and ":".join(filter(None, (fault["code"], fault["field"])))
            assert (outcome, reasons) == (("quarantined", wanted) if wanted else ("accepted", "")), line
        again = [outcome for _, outcome, _ in clickhouse.rows(query, ref=second["receipt"])]
        assert again.count("duplicate") == 3
        assert again.count("quarantined") == 3
        amounts = clickhouse.rows("SELECT id, toString(payment_amount) FROM payments ORDER BY 1")
        assert {name: Decimal(str(amount)) for name, amount in amounts} == {
            "P1": Decimal("0.1"),
            "P2": 5000,
            "P5": Decimal("-12.5"),
        }
    finally:
        worker.kill()
        await asyncio.to_thread(worker.child.wait, 30)
        sender.close()
