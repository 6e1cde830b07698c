"""Keeps Redis true to the record of tokens: loads it when it was lost, repeats what it missed."""

import asyncio
import contextlib
import secrets
from typing import Final

import structlog
from redis.asyncio import Redis
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.db import Database, now_ms
from api.redis_client import RedisAway, RedisGate
from api.tokens import repository
from api.tokens.repository import TokenRow
from api.tokens.state import FINISH, LOADED, LOADING, REVOKED, TokenState

log = structlog.get_logger(__name__)

EVERY_S: Final = 0.3
_LOAD_S: Final = 10


class TokenKeeper:
    """A loop beside the requests of each API process; any number of them do no harm to each other."""

    def __init__(self, db: Database, gate: RedisGate, state: TokenState) -> None:
        self._db = db
        self._gate = gate
        self._state = state
        self._stopping = False
        self._nonce = secrets.token_hex(8)

    async def run(self) -> None:
        """Look every `EVERY_S`, or at once when a request found the marker missing; until `stop`."""
        while not self._stopping:
            try:
                await self.step()
            except RedisAway:
                pass  # requests are told so themselves; the next look may find it back
            except SQLAlchemyError as error:
                log.warning("token_keeper_waits_for_sql", error=type(error).__name__)
            self._state.unloaded.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._state.unloaded.wait()

    def stop(self) -> None:
        """End `run` after the look it is at."""
        self._stopping = True
        self._state.unloaded.set()

    async def step(self) -> None:
        """One look: load if the marker is not this Redis process's, then tell what is pending."""
        marker, process = await self._gate.ask(_marker)
        if marker != process:
            await self._load(process)
        if rows := await run_in_threadpool(self._pending):
            await self._state.tell(rows)

    async def _load(self, process: str) -> None:
        nonce = self._nonce
        await self._gate.ask(lambda r: r.set(LOADING, nonce, nx=True, ex=_LOAD_S))
        if await self._gate.ask(lambda r: r.get(LOADING)) != nonce:
            return  # another process is at it; its time is limited
        await self._gate.ask(lambda r: r.delete(LOADED))
        count = 0
        with self._db.read() as session:
            chunks = repository.unexpired(session, now_ms())
            while chunk := await run_in_threadpool(next, chunks, None):
                await self._gate.ask(lambda r, chunk=chunk: _put_all(r, chunk))  # type: ignore[misc]
                await self._gate.ask(lambda r: r.expire(LOADING, _LOAD_S))
                count += len(chunk)
        done = await self._gate.ask(lambda r: r.eval(FINISH, 2, LOADED, LOADING, nonce, process))
        log.info("tokens_loaded", tokens=count, complete=bool(done))

    def _pending(self) -> list[TokenRow]:
        with self._db.read() as session:
            return list(repository.pending(session))


async def _marker(redis: Redis) -> tuple[str, str]:
    info = await redis.info("server")
    return str(await redis.get(LOADED) or ""), str(info["run_id"])


async def _put_all(redis: Redis, rows: list[TokenRow]) -> None:
    pipeline = redis.pipeline(transaction=False)
    for row in rows:
        until = int(row.expires_at.timestamp()) + 60
        value = REVOKED if row.revoked else row.subject_id
        pipeline.set(f"token:{row.jti}", value, exat=until, nx=not row.revoked)
    await pipeline.execute()
