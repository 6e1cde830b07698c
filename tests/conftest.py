"""Real parts for every test: one embedded stack a session, a fresh namespace in it for each test."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from producers.topics import create_topics
from sinks import client as clickhouse_client
from sinks.migrate import migrate
from sunledger.embedded.stack import Endpoints, Stack

# Their files take minutes: begun last, one would leave the other processes idle.
LONGEST_FIRST = ("faults", "streams", "e2e", "security")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with the longest files first; otherwise the order stays."""
    tests = Path(__file__).parent
    places = {folder: place for place, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(tests).parts[0], len(places)))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, the ClickHouse engine, Valkey and the S3 server, on ports of their own."""
    with Stack(tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def endpoints(stack: Stack) -> Endpoints:
    """Where the shared parts answer."""
    return stack.endpoints


@dataclass(frozen=True)
class ClickHouse:
    """A fresh, migrated database: its URL, name and a client bound to it."""

    url: str
    database: str
    client: Client

    def rows(self, sql: str, **parameters: object) -> list[tuple[object, ...]]:
        """Rows of a query."""
        return [tuple(row) for row in self.client.query(sql, parameters=parameters).result_rows]

    def value(self, sql: str, **parameters: object) -> object:
        """The one value of a query."""
        return self.rows(sql, **parameters)[0][0]


@pytest.fixture(scope="session")
def clickhouse_admin(stack: Stack) -> Iterator[Client]:
    """A client that makes and drops databases; it costs as much as a dozen questions."""
    client = clickhouse_client.connect(stack.endpoints.clickhouse)
    yield client
    client.close()


@pytest.fixture
def clickhouse(endpoints: Endpoints, clickhouse_admin: Client) -> Iterator[ClickHouse]:
    """A fresh database in the shared engine."""
    name = f"t_{secrets.token_hex(6)}"
    migrate(clickhouse_admin, name)
    client = clickhouse_client.connect(endpoints.clickhouse, database=name)
    yield ClickHouse(endpoints.clickhouse, name, client)
    client.close()
    clickhouse_admin.command(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def kafka_prefix(endpoints: Endpoints) -> str:
    """A fresh topic prefix, its topics created."""
    prefix = f"t{secrets.token_hex(4)}."
    create_topics(endpoints.kafka, prefix)
    return prefix


@pytest.fixture
def redis_url(endpoints: Endpoints) -> str:
    """The shared Valkey."""
    return endpoints.redis


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty folder."""
    return tmp_path / "data"
