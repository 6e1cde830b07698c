"""The API over a fresh SQLite, real Valkey and a real broker; ClickHouse where a test asks for it."""

import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import redis
from api_helpers import EMAIL, PASSWORD, SECRET, Api, MakeApi

from api import migrate
from api.app import create_app
from api.auth.service import ensure_admin
from api.db import Database
from api.ledger.tails import KafkaTails
from api.ops.broker import BrokerCheck
from api.parts import ApiParts, ApiSettings
from producers.publisher import Publisher
from sinks.client import connect
from sunledger.embedded.stack import Endpoints, Stack

CLOSED = "127.0.0.1:9"


@pytest.fixture(scope="session")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Valkey of the API's tests alone: some of them pause and kill it."""
    with Stack(tmp_path_factory.mktemp("valkey"), parts=["redis"]) as stack:
        yield stack


@pytest.fixture
def redis_server(own_redis: Stack) -> Stack:
    """The same, answering and empty."""
    if not own_redis.is_running("redis"):
        own_redis.start("redis")
    with redis.Redis.from_url(own_redis.endpoints.redis) as client:
        client.flushall()
    return own_redis


@pytest.fixture
def settings(tmp_path: Path) -> ApiSettings:
    """Settings of one installation, with keys of its own."""
    return ApiSettings(
        issuer="https://sunledger.test",
        keys_directory=tmp_path / "keys",
        uploads_directory=tmp_path / "uploads",
        uploads_reserve_bytes=0,
        credential_key=secrets.token_bytes(32),
        admin_email=EMAIL,
        admin_password=PASSWORD,
        pseudonym_secret=SECRET,
        seal_secret=SECRET,
        publish_timeout_s=0.3,
    )


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database with the first admin, to be copied."""
    path = tmp_path_factory.mktemp("registry") / "registry.db"
    url = f"sqlite:///{path}"
    migrate.upgrade(url)
    db = Database(url)
    ensure_admin(db, EMAIL, PASSWORD)
    db.close()
    return path


@pytest.fixture
def sql_url(tmp_path: Path, migrated: Path) -> str:
    """A migrated SQLite database with the first admin."""
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'registry.db')}"


@pytest.fixture
def lonely_publisher() -> Iterator[Publisher]:
    """A publisher whose broker is not there."""
    publisher = Publisher(CLOSED)
    yield publisher
    publisher.close(0)


@pytest.fixture
def parts(redis_server: Stack, settings: ApiSettings, sql_url: str, lonely_publisher: Publisher) -> ApiParts:
    """Parts without broker and ClickHouse; tests that need them replace these."""

    def no_broker() -> None:
        raise ConnectionError

    return ApiParts(
        sql_url=sql_url,
        redis_url=redis_server.endpoints.redis,
        publisher=lonely_publisher,
        clickhouse=lambda: connect(f"http://{CLOSED}"),
        settings=settings,
        broker_ready=no_broker,
    )


@pytest.fixture
def publisher(endpoints: Endpoints) -> Iterator[Publisher]:
    """A publisher to the shared broker."""
    publisher = Publisher(endpoints.kafka)
    yield publisher
    publisher.close(1)


@pytest.fixture
def brokered(parts: ApiParts, publisher: Publisher, kafka_prefix: str, endpoints: Endpoints) -> ApiParts:
    """Parts with a broker, without ClickHouse."""
    return replace(
        parts,
        publisher=publisher,
        settings=replace(parts.settings, topic_prefix=kafka_prefix, publish_timeout_s=4.0),
        broker_ready=BrokerCheck(endpoints.kafka),
        tails=KafkaTails(endpoints.kafka),
    )


@pytest.fixture
def whole(brokered: ApiParts, clickhouse: Any) -> ApiParts:
    """Parts with broker and ClickHouse."""
    return replace(brokered, clickhouse=lambda: connect(clickhouse.url, database=clickhouse.database))


@pytest.fixture
async def make_api(parts: ApiParts) -> AsyncIterator[MakeApi]:
    """Starts applications over the parts, with changes; several share SQL, Redis and keys."""
    async with AsyncExitStack() as stack:

        async def make(base: ApiParts = parts, **changes: Any) -> Api:
            app = create_app(replace(base, **changes))
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            http = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://api")
            )
            return Api(app, http)

        yield make


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    """One application, the admin logged in."""
    made = await make_api()
    await made.log_in()
    return made


@pytest.fixture
async def whole_api(make_api: MakeApi, whole: ApiParts) -> Api:
    """One application over all parts, the admin logged in."""
    made = await make_api(whole)
    await made.log_in()
    return made


@pytest.fixture
async def brokered_api(make_api: MakeApi, brokered: ApiParts) -> Api:
    """One application with a broker and without ClickHouse, the admin logged in."""
    made = await make_api(brokered)
    await made.log_in()
    return made
