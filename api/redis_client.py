"""Redis with a short patience: one that does not answer costs a request a quarter of a second, once."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

PATIENCE_S: Final = 0.25
PAUSE_S: Final = 0.4
Answer = TypeVar("Answer")


class RedisAway(Exception):
    """Redis did not answer, or did not answer a moment ago."""


class RedisGate:
    """All calls to Redis of this process go through here.

    After a failure nothing is asked for `PAUSE_S`, so that an outage does not make every request wait;
    the pause is short enough to keep "revoked within one second" once Redis answers again.
    """

    def __init__(self, url: str) -> None:
        self.client: Redis = Redis.from_url(
            url,
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=100,
            decode_responses=True,
        )
        self._closed_until = 0.0

    async def ask(self, question: Callable[[Redis], Awaitable[Answer]]) -> Answer:
        """The answer to a question.

        Raises:
            RedisAway: no answer within `PATIENCE_S`, or Redis failed less than `PAUSE_S` ago.
        """
        if time.monotonic() < self._closed_until:
            raise RedisAway
        try:
            return await question(self.client)
        except (RedisError, OSError, TimeoutError) as error:
            self._closed_until = time.monotonic() + PAUSE_S
            raise RedisAway(type(error).__name__) from None

    async def ping(self) -> None:
        """Ask whether it is there, whatever happened a moment ago (RedisError, OSError if not)."""
        await self.client.ping()

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()
