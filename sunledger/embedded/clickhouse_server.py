"""A local ClickHouse: chDB (the engine as a library) behind ClickHouse's HTTP protocol.

`python -m sunledger.embedded.clickhouse_server --data DIR --port N`, user and password in the environment.
One process per data folder; listens on 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from sunledger.embedded.chserver.app import App
from sunledger.embedded.clickhouse import PASSWORD_VARIABLE, USER_VARIABLE

_KEEP_ALIVE_S = 120


class _Server:
    """Answers the lifespan events of ASGI and hands requests to an `App` made inside the event loop."""

    def __init__(self, data_dir: Path, user: str, password: str) -> None:
        self._arguments = (data_dir, user, password)
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self._app = App(*self._arguments)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._app.close()
            await send({"type": "lifespan.shutdown.complete"})
        elif self._app is not None:
            await self._app(scope, receive, send)


def main(args: Sequence[str]) -> int:
    """Command line; returns when asked to stop by SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(args)
    user, password = os.environ.get(USER_VARIABLE, "default"), os.environ.get(PASSWORD_VARIABLE, "")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options.data.mkdir(parents=True, exist_ok=True)
    uvicorn.run(
        _Server(options.data, user, password),
        host="127.0.0.1",
        port=options.port,
        http="httptools",
        access_log=False,
        log_config=None,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # The engine's threads may still run a query; its own exit handlers can then hang or crash. Data is safe:
    # every finished insert is a complete part on disk.
    os._exit(code)
