"""What the security tests run against: the API's fixtures, and a broker that asks who is there."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import (
    brokered,
    lonely_publisher,
    make_api,
    migrated,
    own_redis,
    parts,
    publisher,
    redis_server,
    settings,
    sql_url,
    whole,
    whole_api,
)
from tests.security.sasl_broker import SaslBroker

__all__ = [
    "brokered",
    "lonely_publisher",
    "make_api",
    "migrated",
    "own_redis",
    "parts",
    "publisher",
    "redis_server",
    "settings",
    "sql_url",
    "whole",
    "whole_api",
]


@pytest.fixture(scope="package")
def sasl_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaslBroker]:
    """A broker configured as the one of the compose file."""
    with SaslBroker(tmp_path_factory.mktemp("sasl")) as broker:
        yield broker
