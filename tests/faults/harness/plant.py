"""One installation of the harness: backing parts, our processes over proxies, ways to strike any of them."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from confluent_kafka.admin import AdminClient, NewPartitions

from sunledger.demo.client import ApiClient
from sunledger.embedded.kafka import Kafka
from sunledger.embedded.process import Child
from sunledger.embedded.stack import Stack
from sunledger.installation import environment
from tests.faults.books import Books
from tests.faults.harness.broker import ProxiedKafka
from tests.faults.harness.proxy import Proxy
from tests.support.workers import free_port, wait_until

SHORT = {
    "SESSION_TIMEOUT_S": "3",
    "HEARTBEAT_S": "0.5",
    "REBALANCE_TIMEOUT_S": "4",
    "INSERT_LIMIT_S": "2",
    "COMMIT_INTERVAL_S": "0.3",
}
LONGEST_S = 4.0
"""The longest of the time-outs above: an outage that lasts longer outlasts them all."""
READY_S = 120.0


class Plant:
    """Everything of one run. `close` ends it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = Stack(folder / "data")
        self.proxies: dict[str, Proxy] = {}
        self.processes: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        try:
            self._build()
        except BaseException:
            self.close()  # the next seed must find the machine as this one did
            raise

    def _build(self) -> None:
        folder = self.folder
        self.stack.start("clickhouse")  # decides where the others will be
        self.proxies["kafka"] = self._second_door()
        self.stack.start()
        found = self.stack.endpoints
        self.endpoints = found
        self.proxies |= {
            "clickhouse": _proxy(found.clickhouse),
            "redis": _proxy(found.redis),
            "s3": _proxy(found.s3.url),
        }
        self._env = {
            **environment(folder / "data", found),
            **{f"SUNLEDGER_{name}": value for name, value in SHORT.items()},
            "SUNLEDGER_KAFKA": f"127.0.0.1:{self.proxies['kafka'].port}",
            "SUNLEDGER_CLICKHOUSE_URL": self.through("clickhouse", found.clickhouse),
            "SUNLEDGER_REDIS_URL": self.through("redis", found.redis),
            "SUNLEDGER_SOURCE_HOSTS": urlsplit(self.s3_url).netloc,
        }
        migrated = subprocess.run(
            [sys.executable, "-m", "sunledger", "migrate"],
            env={**os.environ, **self._env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert migrated.returncode == 0, migrated.stderr
        for name in ("api", "producers", "worker-1", "worker-2", "verifier"):
            self.start(name)
        for name in list(self.processes):
            self.wait_ready(name)
        self.api = ApiClient(found.api)
        self.api.login(**found.admin)
        self.books = Books(found.kafka, "", "sunledger", found.clickhouse, "sunledger")

    def _second_door(self) -> Proxy:
        """The broker's second listener, which our processes use, and the proxy before it."""
        far_port = free_port()
        proxy = Proxy("127.0.0.1", far_port)
        parts = self.stack._planned.parts
        plain = parts["kafka"]
        assert isinstance(plain, Kafka)
        parts["kafka"] = ProxiedKafka.of(plain, far_port, proxy.port)
        return proxy

    @property
    def s3_url(self) -> str:
        """The S3 server as our processes reach it."""
        return self.through("s3", self.endpoints.s3.url)

    def through(self, part: str, url: str) -> str:
        """The URL with the proxy's port in place of the part's own."""
        parts = urlsplit(url)
        return url.replace(f":{parts.port}", f":{self.proxies[part].port}", 1)

    def start(self, name: str) -> None:
        """Start one of our processes; with a new port for its operations at every start."""
        command = name.split("-", maxsplit=1)[0]
        env = dict(self._env)
        if command != "api":
            self._ports[name] = free_port()
            env |= {"SUNLEDGER_OPS_PORT": str(self._ports[name]), "SUNLEDGER_WORKER_NAME": name}
        argv = [sys.executable, "-m", "sunledger", command]
        self.processes[name] = Child.start(name, argv, self.folder / "logs", env=env)

    def is_ready(self, name: str) -> bool:
        """Whether a process of ours answers on `/readyz`."""
        base = self.endpoints.api if name == "api" else f"http://127.0.0.1:{self._ports[name]}"
        try:
            with urllib.request.urlopen(f"{base}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, name: str) -> None:
        """Return when it is ready; one that ended meanwhile is started again, as a supervisor would."""

        def ready() -> bool:
            self.revive(name)
            return self.is_ready(name)

        wait_until(ready, READY_S, f"{name} to be ready")

    def revive(self, *names: str) -> None:
        """Start again what ended by itself. Only a failure (1) or a signal of ours may end a process."""
        for name in names or tuple(self.processes):
            code = self.processes[name].poll()
            if code is not None:
                assert code in (1, -signal.SIGKILL), f"{name} ended with {code}:\n" + "\n".join(
                    self.processes[name].tail(20)
                )
                self.start(name)

    def kill(self, name: str) -> None:
        """kill -9, and start again."""
        self.processes[name].send(signal.SIGKILL)
        self.processes[name].wait()
        self.start(name)

    def stop(self, name: str) -> None:
        """SIGTERM: it must end well, within a minute, and is started again."""
        self.end(name)
        self.start(name)

    def end(self, name: str) -> None:
        """SIGTERM: it must end well, within a minute."""
        code, tail = self._terminated(name)
        if any("worker_failed" in line for line in tail):
            self.start(name)  # it was ending by itself, which `revive` allows: partitions were added
            code, tail = self._terminated(name)
        # uvicorn raises the signal again when all is done, as a shell wants it
        by_signal = code == -signal.SIGTERM and any("Finished server process" in line for line in tail)
        assert code == 0 or (name == "api" and by_signal), f"{name} ended with {code}:\n" + "\n".join(tail)

    def _terminated(self, name: str) -> tuple[int | None, list[str]]:
        """The exit code after a SIGTERM, None when it took longer than a minute; and the end of the log."""
        self.wait_ready(name)
        self.processes[name].send(signal.SIGTERM)
        code = self.processes[name].wait(60)
        return code, self.processes[name].tail(20)

    def pages(self, path: str) -> list[dict[str, Any]]:
        """All items of a list of the API."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.api.get(path + cursor)
            found += page["items"]
            if not page["next"]:
                return found
            cursor = f"&cursor={quote(page['next'])}"

    def add_partition(self, topic: str) -> int:
        """One partition more, while everything runs; returns their number."""
        admin = AdminClient({"bootstrap.servers": self.endpoints.kafka, "log_level": 0})
        count = len(admin.list_topics(topic, timeout=10).topics[topic].partitions) + 1
        admin.create_partitions([NewPartitions(topic, count)])[topic].result(30)
        return count

    def logs(self) -> Mapping[str, str]:
        """The log of each process of ours."""
        return {name: child.log_path.read_text(errors="replace") for name, child in self.processes.items()}

    def close(self) -> None:
        """End everything."""
        for child in self.processes.values():
            child.send(signal.SIGCONT)
            child.stop(0.0)
        for proxy in self.proxies.values():
            proxy.close()
        if hasattr(self, "books"):
            self.books.close()
        self.stack.stop(grace_s=1.0)


def _proxy(url: str) -> Proxy:
    parts = urlsplit(url)
    assert parts.port is not None
    return Proxy("127.0.0.1", parts.port)
