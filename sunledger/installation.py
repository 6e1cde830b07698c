"""An embedded installation: its secrets, and our own processes over the backing parts."""

import os
import secrets
import socket
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from sunledger.embedded.extra import ExtraPart
from sunledger.embedded.files import read_json, write_json
from sunledger.embedded.stack import Endpoints

SECRETS = ("PSEUDONYM_SECRET", "SEAL_SECRET", "CREDENTIAL_KEY")
BACKING = ("kafka", "clickhouse", "redis", "s3")


def environment(data_dir: Path, endpoints: Endpoints) -> dict[str, str]:
    """The environment of our processes in an embedded installation; secrets are made on first use."""
    api = urlsplit(endpoints.api)
    values = {
        "KAFKA": endpoints.kafka,
        "CLICKHOUSE_URL": endpoints.clickhouse,
        "REDIS_URL": endpoints.redis,
        "SQL_URL": f"sqlite:///{data_dir / 'registry.db'}",
        "API_HOST": api.hostname or "127.0.0.1",
        "API_PORT": str(api.port),
        "KEYS_DIRECTORY": str(data_dir / "keys"),
        "UPLOADS_DIRECTORY": str(data_dir / "uploads"),
        "SOURCE_HOSTS": _source_hosts(urlsplit(endpoints.s3.url).netloc),
        "ADMIN_EMAIL": endpoints.admin["email"],
        "ADMIN_PASSWORD": endpoints.admin["password"],
        **_secrets(data_dir / "secrets.json"),
    }
    return {f"SUNLEDGER_{name}": value for name, value in values.items()}


def _source_hosts(store: str) -> str:
    """Hosts that datasets may name: this installation's own store, and those that its operator allows."""
    return ",".join(filter(None, (store, os.environ.get("SUNLEDGER_SOURCE_HOSTS", "").strip())))


def _secrets(path: Path) -> dict[str, str]:
    """Master secrets of this installation, kept in a file that only its owner reads."""
    known = read_json(path)
    if known is not None:
        return {name: str(known[name]) for name in SECRETS}
    made = {name: urlsafe_b64encode(secrets.token_bytes(32)).decode() for name in SECRETS}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, made)
    return made


def processes(data_dir: Path, workers: int = 1) -> Callable[[Endpoints], Sequence[ExtraPart]]:
    """Our processes as parts for the supervisor, once the endpoints are known."""

    def parts(endpoints: Endpoints) -> Sequence[ExtraPart]:
        env = environment(data_dir.resolve(), endpoints)
        api = ExtraPart(
            "api", _command("api"), env, f"{endpoints.api}/healthz", BACKING, cwd=str(data_dir.resolve())
        )
        names = ["worker" if n == 0 else f"worker-{n + 1}" for n in range(workers)]
        return [
            api,
            *(_with_ops(data_dir, name, "worker", env) for name in names),
            _with_ops(data_dir, "producers", "producers", env),
            _with_ops(data_dir, "verifier", "verifier", env),
        ]

    return parts


def _with_ops(data_dir: Path, name: str, command: str, env: dict[str, str]) -> ExtraPart:
    port = _free_port()
    return ExtraPart(
        name,
        _command(command),
        {**env, "SUNLEDGER_OPS_PORT": str(port), "SUNLEDGER_WORKER_NAME": name},
        f"http://127.0.0.1:{port}/readyz",
        BACKING,
        cwd=str(data_dir.resolve()),
    )


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "sunledger", name]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
