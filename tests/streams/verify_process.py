"""A `sunledger verifier` for tests, ended with its object."""

import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

from sunledger.embedded.process import Child
from tests.support.workers import free_port


class VerifierProcess:
    """One verifier process that looks often; its log is in `log`."""

    def __init__(
        self, folder: Path, kafka: str, prefix: str, url: str, database: str, **settings: object
    ) -> None:
        self.port = free_port()
        self.log = folder / f"verifier-{self.port}.log"
        given = {
            "kafka": kafka,
            "topic_prefix": prefix,
            "clickhouse_url": url,
            "clickhouse_database": database,
            "ops_port": self.port,
            "verify_interval_s": 0.2,
            "verify_full_interval_s": 0.5,
            **settings,
        }
        env = {**os.environ, **{f"SUNLEDGER_{name.upper()}": str(value) for name, value in given.items()}}
        argv = [sys.executable, "-m", "sunledger", "verifier"]
        self.child = Child.start(f"verifier-{self.port}", argv, folder, env=env)

    def why_not_ready(self) -> str | None:
        """What `/readyz` says is missing; None when it is ready."""
        try:
            self._get("readyz")
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.read().decode()
        except OSError as exc:
            assert self.child.poll() is None, (self.child.poll(), self.child.tail(20))
            return f"no answer: {type(exc).__name__}"
        return None

    def metric(self, name: str) -> dict[str, float]:
        """Values of a metric that are not 0, by their labels; none while the process starts."""
        try:
            text = self._get("metrics")
        except OSError:
            assert self.child.poll() is None, (self.child.poll(), self.child.tail(20))
            return {}
        lines = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in lines if float(value)}

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=10) as answer:
            return str(answer.read().decode())
