"""Clients of ClickHouse with the settings that writes and restores rely on."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

INSERT_LIMIT_S: Final = 30
"""Longest time an insert may run on the server, in seconds. A new owner of a partition waits for longer
before it restores, so that an insert of the old owner is either visible or dead."""

SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,  # on by default in current servers; batches are ours
    "do_not_merge_across_partitions_select_final": 1,  # rows of one key share a partition
    "max_execution_time": INSERT_LIMIT_S,
    "use_query_condition_cache": 0,  # forgets rows after a join, see ddl/0007_registry_views.sql
}

ClientFactory = Callable[[], Client]


def connect(
    url: str,
    *,
    user: str | None = None,
    password: str | None = None,
    database: str | None = None,
    connect_timeout_s: float = 5,
    timeout_s: float = INSERT_LIMIT_S + 5,
    retries: int = 0,
    settings: dict[str, Any] | None = None,
) -> Client:
    """A client for one thread at a time; user and password in the URL are taken when none are given.

    Args:
        url: `http://[user:password@]host:port` or `https://…`.
        database: None for a client that is not bound to one (before `migrate`).
        timeout_s: seconds to wait for an answer; longer than `INSERT_LIMIT_S`, so that the server, not
            the network, decides how an insert ended.
        retries: the driver's own repeats of a read; writers count their own.

    Raises:
        clickhouse_connect.driver.exceptions.Error: no answer, or refused credentials; see `errors.classify`.
    """
    parts = urlsplit(url)
    return clickhouse_connect.get_client(
        interface=parts.scheme,
        host=parts.hostname or "",
        port=parts.port or 0,
        username=user if user is not None else unquote(parts.username or ""),
        password=password if password is not None else unquote(parts.password or ""),
        database=database or "__default__",
        connect_timeout=connect_timeout_s,
        send_receive_timeout=timeout_s,
        query_retries=retries,
        compress=False,
        settings={**SETTINGS, **(settings or {})},
        autogenerate_session_id=False,
        tz_mode="aware",
        dedicated_pool=True,  # closed with the client
    )


def factory(url: str, **options: Any) -> ClientFactory:
    """A function that connects with these arguments each time it is called."""

    def make() -> Client:
        return connect(url, **options)

    return make
