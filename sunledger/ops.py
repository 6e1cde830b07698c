"""`/metrics`, `/healthz` and `/readyz` of processes that have no HTTP service of their own."""

import asyncio
import threading
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class OpsServer:
    """A small HTTP server in a thread of its own: it answers while the process's loop is busy.

    Args:
        ready: None when ready, else what is missing.
    """

    def __init__(self, host: str, port: int, ready: Callable[[], str | None]) -> None:
        self._host = host
        self._port = port
        self._ready = ready
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ops", daemon=True)

    def start(self) -> None:
        """Listen; returns when the port is bound.

        Raises:
            OSError: the port is taken.
        """
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    async def _serve(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        missing = self._ready()
        if missing is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "detail": missing}, status=503)
