"""Says whether a token is in force: Redis answers, SQL is the record, memory bridges an outage.

Redis holds `token:<jti>` (the id of its subject, or `revoked`) until the token expires, and the marker
`tokens:loaded` with the id of the Redis process it was written for. Without the marker, or with
that of another process (a restart may bring back an old snapshot), Redis "cannot answer".
"""

import asyncio
import time
from collections import OrderedDict
from typing import Final

import structlog
from redis.asyncio import Redis
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api.db import Database, now_ms
from api.errors import BadToken, TokenStateUnknown
from api.jwts import Claims
from api.metrics import TOKEN_CHECKS
from api.redis_client import RedisAway, RedisGate
from api.tokens import repository
from api.tokens.repository import TokenRow

log = structlog.get_logger(__name__)

LOADED: Final = "tokens:loaded"
LOADING: Final = "tokens:loading"
REVOKED: Final = "revoked"
SEEN_FOR_S: Final = 60.0
_SEEN_MAX: Final = 200_000
_LOOKUPS: Final = 8

# A marker is only set by the loader that is still the one: if Redis was lost in between, so is LOADING.
FINISH = """if redis.call('get', KEYS[2]) == ARGV[1] then
redis.call('set', KEYS[1], ARGV[2]) redis.call('del', KEYS[2]) return 1 end return 0"""


class TokenState:
    """The state of all tokens of devices and organisations, as one API process knows it."""

    def __init__(self, db: Database, gate: RedisGate) -> None:
        self._db = db
        self._gate = gate
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        self.unloaded = asyncio.Event()
        """Set when a request found Redis without the marker; the keeper loads it."""

    async def check(self, claims: Claims) -> None:
        """Let a token pass that is in force.

        Raises:
            BadToken: revoked, or not on record.
            TokenStateUnknown: Redis cannot answer, and the token was not seen valid within 60 s.
        """
        try:
            loaded, state = await self._gate.ask(lambda r: r.mget(LOADED, f"token:{claims.jti}"))
            if loaded is None:
                self.unloaded.set()
                raise RedisAway("not loaded")
            by = "redis" if state is not None else "sql"
            state = state if state is not None else await self._look_up(claims.jti)
        except RedisAway:
            return self._from_memory(claims.jti)
        valid = state == claims.subject
        TOKEN_CHECKS.labels(by, "valid" if valid else "refused").inc()
        if not valid:
            self._seen.pop(claims.jti, None)
            raise BadToken
        self._remember(claims.jti)
        return None

    def _remember(self, jti: str) -> None:
        self._seen[jti] = time.monotonic()
        self._seen.move_to_end(jti)
        if len(self._seen) > _SEEN_MAX:
            self._seen.popitem(last=False)

    def _from_memory(self, jti: str) -> None:
        if time.monotonic() - self._seen.get(jti, float("-inf")) <= SEEN_FOR_S:
            TOKEN_CHECKS.labels("memory", "valid").inc()
            return
        TOKEN_CHECKS.labels("memory", "unknown").inc()
        raise TokenStateUnknown

    async def _look_up(self, jti: str) -> str | None:
        """Ask the record for a token that Redis lacks (evicted, or issued a moment ago)."""
        if self._lookups.locked():
            raise TokenStateUnknown
        async with self._lookups:
            try:
                row = await run_in_threadpool(self._find, jti)
            except SQLAlchemyError as error:
                log.warning("token_lookup_failed", error=type(error).__name__)
                raise TokenStateUnknown from None
        if row is None:
            return None
        await self._gate.ask(lambda r: _put(r, row))
        return REVOKED if row.revoked else row.subject_id

    def _find(self, jti: str) -> TokenRow | None:
        with self._db.read() as session:
            return repository.find(session, jti, now_ms())

    async def tell(self, rows: list[TokenRow]) -> None:
        """Tell Redis of changed tokens and note that it knows. If it is away the keeper does it later."""
        for row in rows:
            if row.revoked:
                self._seen.pop(row.jti, None)
        try:
            for row in rows:
                await self._gate.ask(lambda r, row=row: _put(r, row))  # type: ignore[misc]
        except RedisAway:
            log.warning("token_change_waits_for_redis", tokens=len(rows))
            return
        await run_in_threadpool(self._told, rows)

    def _told(self, rows: list[TokenRow]) -> None:
        with self._db.write() as session:
            for row in rows:
                repository.told(session, row)


async def _put(redis: Redis, row: TokenRow) -> None:
    """Write one state. `revoked` overwrites, a token in force never does: nothing is un-revoked."""
    key, until = f"token:{row.jti}", int(row.expires_at.timestamp()) + 60
    if row.revoked:
        await redis.set(key, REVOKED, exat=until)
    else:
        await redis.set(key, row.subject_id, exat=until, nx=True)
