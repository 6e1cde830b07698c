"""What a data directory holds: folders, ports and credentials that stay the same from start to start."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from sunledger.embedded.files import read_json, write_json


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


def default_data_dir() -> Path:
    """Where `up` and `query` look when no folder is given: SUNLEDGER_DATA, else `.sunledger` here."""
    return Path(os.environ.get("SUNLEDGER_DATA", ".sunledger"))
