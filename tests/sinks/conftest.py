"""A store of their own for these tests: the real engine over HTTP, a fresh database per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sinks_helpers import Store, numbers

from sunledger.embedded.stack import Stack


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the engine answers."""
    with Stack(tmp_path_factory.mktemp("sinks"), parts=["clickhouse"]) as stack:
        yield stack.endpoints.clickhouse


@pytest.fixture
def store(clickhouse_url: str) -> Iterator[Store]:
    """A migrated, empty database."""
    made = Store(clickhouse_url, f"sinks_{next(numbers)}")
    yield made
    made.close()
