"""The four backing parts as one object, for tests and scripts: start, endpoints, faults, stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from sunledger.embedded import part
from sunledger.embedded.aot_training import get_ready
from sunledger.embedded.clickhouse import ClickHouse
from sunledger.embedded.files import FileLock, read_json
from sunledger.embedded.kafka import Kafka
from sunledger.embedded.layout import Credentials, Layout
from sunledger.embedded.part import Part
from sunledger.embedded.ports import PortClaims, choose_ports, is_free
from sunledger.embedded.process import Child
from sunledger.embedded.s3 import S3
from sunledger.embedded.valkey import Valkey

PARTS = ("kafka", "clickhouse", "redis", "s3")
JAVA_PROGRAMS = {"kafka": "kafka", "s3": "s3proxy"}
_PORTS_FREED_S = 3.0


@dataclass(frozen=True)
class S3Endpoint:
    """Where S3 answers (path style) and its key pair."""

    url: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Endpoints:
    """Where everything answers; the fields are those of `endpoints.json`.

    Attributes:
        ops: name of a process of ours to where its `/readyz`, `/healthz` and `/metrics` are.
    """

    api: str
    kafka: str
    clickhouse: str
    redis: str
    s3: S3Endpoint
    admin: dict[str, str]
    ops: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of `endpoints.json`."""
        return asdict(self)

    def __repr__(self) -> str:
        # The URLs hold passwords.
        return f"Endpoints(kafka={self.kafka!r}, ...)"


@dataclass(frozen=True)
class Plan:
    """The parts of a data directory with their ports and secrets, not yet started."""

    layout: Layout
    parts: dict[str, Part]
    endpoints: Endpoints
    ports: dict[str, int]


def plan(layout: Layout, claims: PortClaims, *, prefer_defaults: bool) -> Plan:
    """Decide ports and credentials of a data directory and describe its parts. The caller holds the lock."""
    _await_ports(layout.ports)
    ports = choose_ports(layout.ports, claims, prefer_defaults=prefer_defaults)
    known = Credentials.load(layout.credentials)
    kafka = Kafka(layout.part("kafka"), ports["kafka"], ports["kafka_controller"])
    clickhouse = ClickHouse(
        layout.part("clickhouse"), ports["clickhouse"], known.clickhouse_user, known.clickhouse_password
    )
    valkey = Valkey(layout.part("redis"), ports["redis"], known.redis_password)
    s3 = S3(layout.part("s3"), ports["s3"], known.s3_access_key, known.s3_secret_key)
    endpoints = Endpoints(
        api=f"http://127.0.0.1:{ports['api']}",
        kafka=kafka.bootstrap,
        clickhouse=clickhouse.url,
        redis=valkey.url,
        s3=S3Endpoint(s3.url, s3.access_key, s3.secret_key),
        admin={"email": known.admin_email, "password": known.admin_password},
    )
    parts: dict[str, Part] = {p.name: p for p in (kafka, clickhouse, valkey, s3)}
    return Plan(layout, parts, endpoints, ports)


def _await_ports(path: Path) -> None:
    """After kill -9 the kernel takes a moment to end the parts: rather wait than change the ports."""
    ports = [port for port in (read_json(path) or {}).values() if isinstance(port, int)]
    deadline = time.monotonic() + _PORTS_FREED_S
    while time.monotonic() < deadline and not all(is_free(port) for port in ports):
        time.sleep(0.05)


class Stack:
    """Real Kafka, ClickHouse, Redis and S3 over one folder.

    `with Stack(folder) as stack:` starts them in parallel, returns when all answer, and ends them. `parts`
    limits it to some of them. Ports are random unless `prefer_defaults`; ports and credentials stay the same
    for a folder. Not thread-safe.
    """

    def __init__(
        self, data_dir: Path | str, *, parts: Sequence[str] = PARTS, prefer_defaults: bool = False
    ) -> None:
        unknown = set(parts) - set(PARTS)
        if unknown:
            raise ValueError(f"unknown parts: {sorted(unknown)}")
        self.layout = Layout.at(data_dir)
        self._names = [name for name in PARTS if name in parts]
        self._prefer_defaults = prefer_defaults
        self._lock = FileLock(self.layout.lock)
        self._claims = PortClaims()
        self._plan: Plan | None = None
        self._children: dict[str, Child] = {}

    @property
    def endpoints(self) -> Endpoints:
        """Where the parts answer. Raises RuntimeError before the first start."""
        return self._planned.endpoints

    @property
    def ports(self) -> dict[str, int]:
        """The ports by name; `api` is reserved for the caller's own process."""
        return self._planned.ports

    def start(self, name: str | None = None) -> None:
        """Start one part, or all that do not run, and wait until they answer.

        Raises PartFailed (parts already started keep running; call `stop`), StackBusy, ChecksumMismatch,
        DownloadFailed.
        """
        if self._plan is None:
            self._lock.acquire()
            self._plan = plan(self.layout, self._claims, prefer_defaults=self._prefer_defaults)
        names = [n for n in self._names if not self.is_running(n)] if name is None else [name]
        programs = [JAVA_PROGRAMS[n] for n in names if n in JAVA_PROGRAMS]
        if programs:
            get_ready(programs)
        with ThreadPoolExecutor(max(len(names), 1)) as pool:
            for job in [pool.submit(self._start, n) for n in names]:
                job.result()

    def _start(self, name: str) -> None:
        if self.is_running(name):
            return
        described = self._planned.parts[name]
        child = part.start(described, self.layout.logs)
        self._children[name] = child
        part.wait_ready(described, child)

    def stop(self, name: str | None = None, grace_s: float = 15.0) -> None:
        """End one part, or all in reverse order: SIGTERM, then SIGKILL after `grace_s` seconds."""
        if name is not None:
            self._child(name).stop(grace_s)
            return
        try:
            for child in reversed(list(self._children.values())):
                child.stop(grace_s)
        finally:
            self._children.clear()
            self._plan = None
            self._claims.release()
            self._lock.release()

    def restart(self, name: str) -> None:
        """Stop one part and start it again over the same data, on the same port."""
        self.stop(name)
        self.start(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one part; after a deadly one, return when it has ended."""
        child = self._child(name)
        child.send(number)
        if number == signal.SIGKILL:
            child.wait()

    def pause(self, name: str) -> None:
        """SIGSTOP: the part keeps its connections and answers nothing."""
        self._child(name).send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT after `pause`."""
        self._child(name).send(signal.SIGCONT)

    def wait_ready(self, name: str) -> None:
        """Block until a running part answers again. Raises PartFailed."""
        part.wait_ready(self._planned.parts[name], self._child(name))

    def is_running(self, name: str) -> bool:
        """Whether the part's process is alive (not whether it answers)."""
        return name in self._children and self._children[name].poll() is None

    def pid(self, name: str) -> int:
        """The process id of a part."""
        return self._child(name).pid

    def _child(self, name: str) -> Child:
        if name not in self._children:
            raise ValueError(f"{name} was never started")
        return self._children[name]

    @property
    def _planned(self) -> Plan:
        if self._plan is None:
            raise RuntimeError("the stack has not been started")
        return self._plan

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
