"""What the API's tests share: a client that knows the common requests, and waiting for an event."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from typing import Any

import httpx2 as httpx
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from fastapi import FastAPI
from sqlalchemy import update

from api.auth.repository import by_email
from api.db import now_ms
from api.deps import Running
from api.ids import TOKEN, new_id
from api.jwts import USERS
from api.redis_client import RedisAway
from api.tables import OutboxRow
from api.tokens.state import LOADED
from schemas.identity import read_key

_numbers = count(1)
"""Of buckets: each belongs to one dataset."""
EMAIL = "admin@sunledger.test"
PASSWORD = "correct horse battery"
SECRET = b"0123456789abcdef0123456789abcdef"
"""Master secret of pseudonyms and seals, the same as of the workers in `tests/support`."""
MakeApi = Callable[..., Awaitable["Api"]]
PROBLEM = "application/problem+json"


async def until(condition: Callable[[], Awaitable[bool]], within_s: float, every_s: float = 0.02) -> float:
    """Wait for a condition and return the seconds it took; fail when it does not come true in time."""
    begun = time.monotonic()
    while not await condition():
        assert time.monotonic() - begun < within_s, "the event did not come in time"
        await asyncio.sleep(every_s)
    return time.monotonic() - begun


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this problem, complete and as problem+json."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:sunledger:problem:{code}"
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    return body


class Api:
    """A client of one running application; requests carry the admin's token unless told otherwise."""

    def __init__(self, app: FastAPI, http: httpx.AsyncClient) -> None:
        self.app = app
        self.http = http

    @property
    def running(self) -> Running:
        """The parts of the application."""
        found: Running = self.app.state.running
        return found

    async def log_in(self) -> str:
        """Carry a token of the first admin from now on, signed as a login does it.

        A password's hash for each test would be a fifth of a second; logins have tests of their own. Returns
        when devices and systems can be told by their tokens too, unless Redis is away.
        """
        with self.running.db.read() as session:
            admin = by_email(session, EMAIL)
        assert admin is not None
        now = now_ms()
        token = self.running.signer.sign(USERS, admin.id, new_id(TOKEN), now, now + timedelta(hours=1))
        self.http.headers["Authorization"] = f"Bearer {token}"
        await until(self._tokens_are_loaded, 30)
        return token

    async def _tokens_are_loaded(self) -> bool:
        try:
            return bool(await self.running.gate.ask(lambda redis: redis.exists(LOADED)))
        except RedisAway:
            return True

    async def make(self, path: str, **body: Any) -> dict[str, Any]:
        """Create an object."""
        answer = await self.http.post(f"/v1/{path}", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def organization(self, name: str = "Sun Ltd") -> dict[str, Any]:
        """A new organisation."""
        return await self.make("organizations", name=name)

    async def project(self, **fields: Any) -> dict[str, Any]:
        """A new project, in a new organisation unless one is named."""
        if "organization_id" not in fields:
            fields["organization_id"] = (await self.organization())["id"]
        return await self.make("projects", **{"name": "Grid", "country": "NG", **fields})

    async def device(self, external_id: str = "meter-1", **fields: Any) -> dict[str, Any]:
        """A new device, in a new project unless one is named."""
        if "project_id" not in fields:
            fields["project_id"] = (await self.project())["id"]
        given = {"external_id": external_id, "manufacturer": "HOP", "serial_number": "A1"}
        return await self.make("devices", **{**given, **fields})

    async def connection(self, external_id: str, project_id: str, **fields: Any) -> dict[str, Any]:
        """A new connection."""
        return await self.make("connections", external_id=external_id, project_id=project_id, **fields)

    async def device_token(self, device_id: str) -> dict[str, Any]:
        """A new token of a device."""
        return await self.make(f"devices/{device_id}/tokens")

    async def organization_token(self, organization_id: str) -> dict[str, Any]:
        """A new token of an organisation."""
        return await self.make(f"organizations/{organization_id}/tokens")

    async def send_payments(self, token: str, *payments: Any, **body: Any) -> httpx.Response:
        """Send payments as an organisation's system."""
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.post(
            "/v1/payments", json={"payments": list(payments), **body}, headers=headers
        )

    async def dataset(self, project: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """A new S3 dataset of a project."""
        given = {
            "name": "01_2024_Site",
            "provider": "ODYSSEY",
            "source": "s3",
            "type": "electricity_payments",
            "organization_id": project["organization_id"],
            "target": "project",
            "project_ids": [project["id"]],
            "s3": {
                "bucket": f"b-{next(_numbers)}",
                "access_key": "AKEY-secret",
                "secret_key": "SKEY-secret",
            },
        }
        return await self.make("datasets", **{**given, **fields})

    async def announce(self) -> None:
        """Stand in for the relay: every change counts as published."""

        def mark() -> None:
            with self.running.db.write() as session:
                session.execute(update(OutboxRow).values(state="sent"))

        await asyncio.to_thread(mark)

    async def send_reads(self, external_id: str, token: str, *reads: Any, **body: Any) -> httpx.Response:
        """Send reads as a device; without any, one good one."""
        given = reads or (read(),)
        sent = {"type": "Delta", "unit": "Wh", "reads": list(given), **body}
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.post(f"/meter-reads/{external_id}", json=sent, headers=headers)


def read(value: Any = "1.5", hour: int = 1) -> dict[str, Any]:
    """A good Delta read of one hour."""
    day = "2024-05-01T"
    return {
        "starttimestamp": f"{day}{hour - 1:02}:00:00Z",
        "endtimestamp": f"{day}{hour:02}:00:00Z",
        "value": value,
    }


def topic_records(bootstrap: str, topic: str) -> list[Message]:
    """All records of a topic, in order per partition."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "looks", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        found: list[Message] = []
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = _ends(consumer, topic, partition)
            consumer.assign([TopicPartition(topic, partition, low)])
            while low < high:
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                low = message.offset() + 1
                found.append(message)
        return found
    finally:
        consumer.close()


def _ends(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """First and next offset; a broker that comes back may not know its topics for a moment."""
    deadline = time.monotonic() + 60
    while True:
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        except KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return low, high


def record_headers(message: Message) -> dict[str, str]:
    """Headers of a record as text."""
    return {name: value.decode() for name, value in message.headers() or []}


def read_record_key(device: dict[str, Any]) -> str:
    """The key under which a device's reads are published."""
    return read_key(device["organization_id"], device["external_id"])
