"""Parts started for these tests: one ClickHouse for the module that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sunledger.embedded.stack import Stack


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with nothing but ClickHouse."""
    with Stack(tmp_path_factory.mktemp("clickhouse"), parts=["clickhouse"]) as stack:
        yield stack


@pytest.fixture
def stack_dir(tmp_path: Path) -> Path:
    """An empty data directory."""
    return tmp_path / "data"
