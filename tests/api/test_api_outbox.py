"""From the registry to its compacted topics: in order, at least once, and made good by the reconciler."""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from api_helpers import Api, assert_problem, topic_records, until
from sqlalchemy import func, select, update

from api.db import Database, now_ms
from api.leases import LeaseHolder
from api.models import Organization
from api.outbox import RELAY, wait_until_announced
from api.reconcile import KafkaTopicVersions, reconcile
from api.relay import Relay
from api.tables import Lease, OutboxRow
from producers.publisher import BrokerUnavailable, Publisher, Record
from schemas.registry import REGISTRY_MODELS, parse
from sunledger.embedded.stack import Endpoints


def _relay(api: Api, publisher: Publisher) -> Relay:
    return Relay(api.running.db, publisher, api.running.parts.settings.topic_prefix)


def _waiting(db: Database) -> int:
    with db.read() as session:
        return session.scalar(select(func.count()).where(OutboxRow.state == "new")) or 0


def _versions(endpoints: Endpoints, prefix: str, kind: str) -> list[tuple[str, int]]:
    records = topic_records(endpoints.kafka, f"{prefix}registry.{kind}")
    return [(record.key().decode(), json.loads(record.value())["version"]) for record in records]


async def test_every_kind_reaches_its_topic_without_secrets(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Each object is a record under its id that its model reads; no credential is in any of them."""
    api = brokered_api
    project = await api.project()
    device = await api.device(
        project_id=project["id"], capacity_kw=2, commissioned_on="2024-01-01", onboarded_at="2024-02-01"
    )
    await api.connection("c", project["id"], device_id=device["id"], valid_from="2024-01-01")
    await api.dataset(project, default_currency="ngn", schedule=60)
    await _relay(api, publisher).step()
    for kind, model in REGISTRY_MODELS.items():
        (record,) = topic_records(endpoints.kafka, f"{kafka_prefix}registry.{kind}")
        message = model.model_validate_json(record.value())
        assert (record.key().decode(), message.version, message.number) == (message.id, 1, 1)
        assert set(json.loads(record.value())) == set(model.model_fields)
        for secret in (b"SKEY-secret", b"AKEY-secret", b"bucket"):
            assert secret not in record.value()
    assert _waiting(api.running.db) == 0


async def test_changes_arrive_in_order_within_a_moment(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """A running relay publishes every change, versions in order."""
    api, stop = brokered_api, asyncio.Event()
    running = asyncio.create_task(_relay(api, publisher).run(stop))
    made = await api.organization()
    for n in range(5):
        await api.http.patch(f"/v1/organizations/{made['id']}", json={"name": f"n{n}"})

    async def empty() -> bool:
        return _waiting(api.running.db) == 0

    await until(empty, 60)
    stop.set()
    await running
    assert _versions(endpoints, kafka_prefix, "organizations") == [(made["id"], v) for v in range(1, 7)]


async def test_a_row_committed_late_is_published_all_the_same(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """PostgreSQL commits sequence numbers out of order: a lower one that shows up later is not skipped."""
    api = brokered_api
    first, second = await api.organization("first"), await api.organization("second")

    def hide(state: str) -> None:
        with api.running.db.write() as session:
            row = update(OutboxRow).where(OutboxRow.object_id == first["id"])
            session.execute(row.values(state=state))

    await asyncio.to_thread(hide, "hidden")
    relay = _relay(api, publisher)
    assert await relay.step() == 1
    await asyncio.to_thread(hide, "new")
    assert await relay.step() == 1
    assert _versions(endpoints, kafka_prefix, "organizations") == [(second["id"], 1), (first["id"], 1)]


async def test_a_relay_that_dies_before_the_mark_repeats_in_order(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Published, not marked, dead: the next relay repeats the batch, and the newest version comes last."""
    api = brokered_api
    made = await api.organization()
    await api.http.patch(f"/v1/organizations/{made['id']}", json={"name": "new"})
    dying = _relay(api, publisher)

    def die(_seqs: list[int]) -> None:
        raise SystemError

    dying._mark = die  # type: ignore[method-assign]
    with pytest.raises(SystemError):
        await dying.step()
    await asyncio.to_thread(dying._lease.release)
    assert await _relay(api, publisher).step() == 2
    assert [version for _, version in _versions(endpoints, kafka_prefix, "organizations")] == [1, 2, 1, 2]


async def test_without_a_broker_nothing_is_marked(brokered_api: Api, publisher: Publisher) -> None:
    """A relay without a broker keeps every row and goes on by itself when the broker is back."""
    api = brokered_api
    await api.organization()
    away = Publisher("127.0.0.1:9", delivery_timeout_s=0.2)
    relay = _relay(api, away)
    with pytest.raises(BrokerUnavailable):
        await relay.step()
    assert _waiting(api.running.db) == 1
    relay._publisher = publisher
    assert await relay.step() == 1
    await asyncio.to_thread(away.close, 0)


async def test_two_relays_do_not_interleave(brokered_api: Api, publisher: Publisher) -> None:
    """While one relay holds the lease the other publishes nothing; released, the other takes over."""
    api = brokered_api
    one, two = _relay(api, publisher), _relay(api, publisher)
    await api.organization()
    assert await one.step() == 1
    await api.organization()
    assert await two.step() == 0
    await asyncio.to_thread(one._lease.release)
    assert await two.step() == 1


def test_a_lease_ends_by_itself(sql_url: str) -> None:
    """A dead holder's lease is free after its time; the old holder does not get it back by renewing."""
    db = Database(sql_url)
    dead, next_one = [LeaseHolder(db, "x", timedelta(milliseconds=200)) for _ in range(2)]
    assert dead.take()
    assert not next_one.take()
    deadline = time.monotonic() + 5
    while not next_one.take():
        assert time.monotonic() < deadline
    next_one._lasts = timedelta(hours=1)
    assert next_one.take()
    assert not dead.take()
    dead.release()
    assert not dead.take()
    db.close()


async def test_the_reconciler_republishes_what_a_topic_lacks(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """Lost records, and a stale record that compaction would keep, are published again; then all is quiet."""
    api = brokered_api
    topics = KafkaTopicVersions({"bootstrap.servers": endpoints.kafka}, kafka_prefix)
    lost, stale, fine = [await api.organization(name) for name in ("lost", "stale", "fine")]
    await api.http.patch(f"/v1/organizations/{stale['id']}", json={"name": "stale 2"})

    def forget() -> None:
        with api.running.db.write() as session:
            session.execute(
                update(OutboxRow)
                .where(OutboxRow.object_id == lost["id"])
                .values(state="sent", sent_at=now_ms())
            )

    await asyncio.to_thread(forget)
    relay = _relay(api, publisher)
    await relay.step()
    with api.running.db.read() as session:
        old = session.scalars(select(OutboxRow).where(OutboxRow.object_id == stale["id"])).first()
    assert old is not None
    await publisher.publish_all([relay._record(old)], 5)  # as two relays in a tangle would
    counts: Mapping[str, Any] = await asyncio.to_thread(reconcile, api.running.db, topics)
    assert counts["organizations"] == 2
    assert await relay.step() == 2
    last = dict(_versions(endpoints, kafka_prefix, "organizations"))
    assert last == {lost["id"]: 1, stale["id"]: 2, fine["id"]: 1}
    assert sum((await asyncio.to_thread(reconcile, api.running.db, topics)).values()) == 0


async def test_a_topic_ahead_of_sql_is_overtaken(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """SQL restored from a backup: its objects get a version above what consumers know already."""
    api = brokered_api
    topics = KafkaTopicVersions({"bootstrap.servers": endpoints.kafka}, kafka_prefix)
    made = await api.organization()
    for n in range(3):
        await api.http.patch(f"/v1/organizations/{made['id']}", json={"name": f"n{n}"})
    relay = _relay(api, publisher)
    await relay.step()

    def restore() -> None:
        with api.running.db.write() as session:
            session.execute(update(Organization).values(version=2))

    await asyncio.to_thread(restore)
    assert (await asyncio.to_thread(reconcile, api.running.db, topics))["organizations"] == 1
    await relay.step()
    assert _versions(endpoints, kafka_prefix, "organizations")[-1] == (made["id"], 5)


async def test_the_workers_can_read_whatever_the_api_takes(brokered_api: Api) -> None:
    """The ends of every range, the longest texts: what is registered here is known there."""
    api = brokered_api
    first, last = "1900-01-01T00:00:00Z", "2299-12-31T23:59:59.999Z"
    project = await api.project(
        organization_id=(await api.organization("n" * 300))["id"], name="p" * 300, programme_ids=["x" * 64]
    )
    for number, moment in enumerate((first, last)):
        device = await api.device(
            "d" * 199 + str(number), project_id=project["id"], onboarded_at=moment, capacity_kw=1e9,
            commissioned_on=moment[:10], manufacturer="m", serial_number="s",
        )  # fmt: skip
        made = await api.connection(
            "c" * 199 + str(number), project["id"], device_id=device["id"], valid_from=first,
            customer_external_id="k" * 200,
        )  # fmt: skip
        patch = {"valid_from": moment, "valid_to": last}
        if moment is last:
            patch = {"valid_to": None, "valid_from": last}
        answer = await api.http.patch(f"/v1/connections/{made['id']}", json=patch)
        assert answer.status_code == 200, answer.text
    await api.dataset(project, id_namespace="i" * 100, name="n" * 300, provider="p" * 100)
    outside = {"valid_to": "2300-01-01T00:00:00Z"}
    assert_problem(await api.http.patch(f"/v1/connections/{made['id']}", json=outside), 422, "invalid")
    late = {"external_id": "x", "project_id": project["id"], "manufacturer": "m", "serial_number": "s"}
    refused = await api.http.post("/v1/devices", json={**late, "commissioned_on": "1899-12-31"})
    assert_problem(refused, 422, "invalid")
    with api.running.db.read() as session:
        rows = session.execute(select(OutboxRow.kind, OutboxRow.payload)).all()
    assert {kind for kind, _ in rows} == set(REGISTRY_MODELS)
    for kind, payload in rows:
        assert parse(kind, payload.encode()).id == json.loads(payload)["id"]


async def test_the_reconciler_is_not_deceived_by_foreign_records(
    brokered_api: Api, publisher: Publisher, endpoints: Endpoints, kafka_prefix: str
) -> None:
    """What the workers refuse counts as missing, whatever version it claims; every kind is looked at."""
    api = brokered_api
    made = await api.device()
    relay = _relay(api, publisher)
    await relay.step()
    foreign = [
        b'{"version": 7}', b"[" * 200_000, b"", b"\xff",
        json.dumps({"id": made["id"], "version": 2**63, "number": 1}).encode(),
        json.dumps({"id": "dev_other", "version": 1}).encode(),
    ]  # fmt: skip
    topics = KafkaTopicVersions({"bootstrap.servers": endpoints.kafka}, kafka_prefix)
    for kind in ("organizations", "devices"):
        object_id = made["id"] if kind == "devices" else made["organization_id"]
        topic = f"{kafka_prefix}registry.{kind}"
        for value in foreign:
            await publisher.publish_all([Record(topic, object_id.encode(), value, partition=0)], 30)
            counts = await asyncio.to_thread(reconcile, api.running.db, topics)
            assert counts[kind] == 1, value[:40]
            await relay.step()
            last = topic_records(endpoints.kafka, topic)[-1]
            assert (parse(kind, last.value()).id, parse(kind, last.value()).version) == (object_id, 1)
    assert sum((await asyncio.to_thread(reconcile, api.running.db, topics)).values()) == 0


async def test_a_token_is_given_out_when_the_workers_can_know_its_subject(
    brokered_api: Api, publisher: Publisher
) -> None:
    """While a relay is at work, be it on nothing; without one nobody waits."""
    api, stop = brokered_api, asyncio.Event()
    device = await api.device()
    await api.device_token(device["id"])
    nobody = asyncio.to_thread(wait_until_announced, api.running.db, [device["id"]], limit_s=3600)
    assert not await nobody, "no relay, no wait"
    running = asyncio.create_task(_relay(api, publisher).run(stop))

    async def quiet() -> bool:
        with api.running.db.read() as session:
            return _waiting(api.running.db) == 0 and session.get(Lease, RELAY) is not None

    await until(quiet, 60)
    for number in range(5):
        made = await api.device(f"D{number}")
        await api.device_token(made["id"])
        with api.running.db.read() as session:
            mine = OutboxRow.object_id.in_([made["id"], made["organization_id"]])
            states = session.scalars(select(OutboxRow.state).where(mine)).all()
        assert set(states) == {"sent"}
    stop.set()
    await running
