"""HTTP over connections that go only where they may (`producers.addresses`): botocore's and urllib3's own.

botocore has no hook for the connection itself, so its pools are given connection classes of ours. No
proxy of the environment is used: it would be the proxy that resolves the name, and our look at it would
mean nothing. Redirects are not followed; botocore asks urllib3 for none, and a test holds it to that.
"""

import socket
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection

from producers.addresses import Hosts


def guard(client: Any, hosts: Hosts) -> None:
    """Let a botocore client connect to these hosts only."""

    def connect(connection: Any) -> socket.socket:
        return _connected(connection, hosts)

    http = type("GuardedConnection", (AWSHTTPConnection,), {"_new_conn": connect})
    https = type("GuardedTlsConnection", (AWSHTTPSConnection,), {"_new_conn": connect})
    session = client._endpoint.http_session
    session._pool_classes_by_scheme = {
        "http": type("GuardedPool", (AWSHTTPConnectionPool,), {"ConnectionCls": http}),
        "https": type("GuardedTlsPool", (AWSHTTPSConnectionPool,), {"ConnectionCls": https}),
    }
    session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme


def guarded_pools(hosts: Hosts, **options: Any) -> PoolManager:
    """urllib3's pools, which connect to these hosts only; `options` are those of `PoolManager`.

    Whoever asks through them says `redirect=False` himself.
    """

    def connect(connection: Any) -> socket.socket:
        return _connected(connection, hosts)

    http = type("GuardedHttp", (HTTPConnection,), {"_new_conn": connect})
    https = type("GuardedHttps", (HTTPSConnection,), {"_new_conn": connect})
    pools = PoolManager(**options)
    pools.pool_classes_by_scheme = {
        "http": type("GuardedHttpPool", (HTTPConnectionPool,), {"ConnectionCls": http}),
        "https": type("GuardedHttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": https}),
    }
    return pools


def _connected(connection: Any, hosts: Hosts) -> socket.socket:
    """A socket to one of the addresses that were looked at; nothing is resolved a second time.

    Raises:
        AddressRefused: the host may not be connected to.
        ConnectTimeoutError, NewConnectionError: as urllib3's own.
    """
    try:
        addresses = hosts.resolve(connection.host, connection.port)
    except OSError as error:
        raise NewConnectionError(connection, f"no such host: {type(error).__name__}") from None
    failure: OSError | None = None
    for address in addresses:
        try:
            return create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, "no answer in time") from None
    raise NewConnectionError(connection, f"no connection: {type(failure).__name__}") from None
