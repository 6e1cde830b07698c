"""What a data directory holds: folders, ports and credentials that stay the same from start to start."""

from __future__ import annotations

import random
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sunledger.embedded.files import read_json, write_json

DEFAULT_PORTS = {
    "kafka": 9092,
    "kafka_controller": 9093,
    "clickhouse": 8123,
    "redis": 6379,
    "s3": 9000,
    "api": 8000,
}
# Below the range from which Linux takes ports for outgoing connections: a part that is down for a moment must
# not find its port taken by somebody's client socket.
_FREE_PORTS = range(20000, 32000)


@dataclass(frozen=True)
class Credentials:
    """Random secrets of one data directory."""

    clickhouse_user: str
    clickhouse_password: str
    redis_password: str
    s3_access_key: str
    s3_secret_key: str
    admin_email: str
    admin_password: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the credentials at `path`, or make and store new ones, mode 0600."""
        stored = read_json(path)
        if stored is not None and set(stored) >= set(cls.__dataclass_fields__):
            return cls(**{name: stored[name] for name in cls.__dataclass_fields__})
        fresh = cls(
            clickhouse_user="sunledger",
            clickhouse_password=secrets.token_hex(16),
            redis_password=secrets.token_hex(16),
            s3_access_key="SL" + secrets.token_hex(9).upper(),
            s3_secret_key=secrets.token_hex(20),
            admin_email="admin@sunledger.local",
            admin_password=secrets.token_urlsafe(15),
        )
        write_json(path, asdict(fresh))
        return fresh

    def __repr__(self) -> str:
        return "Credentials(...)"


@dataclass(frozen=True)
class Layout:
    """Paths of one data directory."""

    root: Path

    @classmethod
    def at(cls, data_dir: Path | str) -> Self:
        """The layout of `data_dir`, which is made (mode 0700) when missing."""
        root = Path(data_dir).resolve()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(root)

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the stack."""
        return self.root / "stack.lock"

    @property
    def ports(self) -> Path:
        """The ports by name."""
        return self.root / "ports.json"

    @property
    def credentials(self) -> Path:
        """The secrets, mode 0600."""
        return self.root / "credentials.json"

    @property
    def endpoints(self) -> Path:
        """Where everything answers, mode 0600."""
        return self.root / "endpoints.json"

    @property
    def status(self) -> Path:
        """What the supervisor last knew."""
        return self.root / "status.json"

    def part(self, name: str) -> Path:
        """The data folder of one part."""
        return self.root / name


def choose_ports(path: Path, *, prefer_defaults: bool) -> dict[str, int]:
    """The ports of a data directory: those stored at `path` where still free, else new ones, stored again.

    With `prefer_defaults` a new directory takes the well-known ports that are free; without, random ones, so
    that several stacks (tests) never meet.
    """
    stored: dict[str, Any] = read_json(path) or {}
    ports: dict[str, int] = {}
    for name, default in DEFAULT_PORTS.items():
        port = stored.get(name)
        candidates = [port] if isinstance(port, int) else []
        if prefer_defaults and not stored:
            candidates.append(default)
        ports[name] = next((p for p in candidates if p not in ports.values() and is_free(p)), 0)
        while not ports[name]:
            port = random.choice(_FREE_PORTS)  # noqa: S311 -- no secret
            ports[name] = port if port not in ports.values() and is_free(port) else 0
    if ports != stored:
        write_json(path, ports)
    return ports


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be listened on now."""
    with socket.socket() as probe:
        # As the servers do: a port in TIME_WAIT after a restart counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
