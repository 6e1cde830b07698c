"""Rate limits: a moving window in Redis, in this process's memory while Redis is away."""

import time
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from api.errors import TooManyRequests
from api.metrics import RATE_LIMITED
from api.redis_client import RedisAway, RedisGate

_NAMESPACE: Final = "rate"


@dataclass(frozen=True, slots=True)
class Window:
    """What is left of a limit, in the words of the RateLimit headers."""

    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """The RateLimit-* header fields."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }


class RateLimiter:
    """Counts hits per named limit and key.

    Args:
        gate: the way to Redis; its short patience holds here too.
        limits: name of a limit to its text, such as `600/minute`.
    """

    def __init__(self, gate: RedisGate, limits: dict[str, str]) -> None:
        self._gate = gate
        self._items: dict[str, RateLimitItem] = {name: parse(text) for name, text in limits.items()}
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            connection_pool=gate.client.connection_pool,  # type: ignore[arg-type]
        )
        self._shared = SlidingWindowCounterRateLimiter(storage)
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def hit(self, name: str, key: str, cost: int = 1) -> Window:
        """Count a request.

        Raises:
            TooManyRequests: the limit is reached; with Retry-After and RateLimit headers.
        """
        item = self._items[name]

        async def shared(_redis: Redis) -> tuple[bool, Window]:
            return await self._count(self._shared, item, name, key, cost)

        try:
            passed, window = await self._gate.ask(shared)
        except RedisAway:
            passed, window = await self._count(self._local, item, name, key, cost)
        if passed:
            return window
        RATE_LIMITED.labels(name).inc()
        raise TooManyRequests(headers={"Retry-After": str(max(window.reset_s, 1)), **window.headers()})

    @staticmethod
    async def _count(
        limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, name: str, key: str, cost: int
    ) -> tuple[bool, Window]:
        passed = await limiter.hit(item, _NAMESPACE, name, key, cost=cost)
        stats = await limiter.get_window_stats(item, _NAMESPACE, name, key)
        reset_s = max(0, int(stats.reset_time - time.time()) + 1)
        return passed, Window(item.amount, max(0, stats.remaining), reset_s)
