"""ClickHouse: our local process around chDB, see `clickhouse_server`."""

from __future__ import annotations

import base64
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sunledger.embedded.errors import PartFailed
from sunledger.embedded.part import Command

USER_VARIABLE = "SUNLEDGER_CLICKHOUSE_SERVER_USER"
PASSWORD_VARIABLE = "SUNLEDGER_CLICKHOUSE_SERVER_PASSWORD"  # noqa: S105 -- the name of a variable


@dataclass(frozen=True)
class ClickHouse:
    """The server over `data_dir`, answering on 127.0.0.1:`port`."""

    data_dir: Path
    port: int
    user: str
    password: str
    name: str = "clickhouse"
    after: Sequence[str] = ()
    start_timeout_s: float = 60.0

    @property
    def url(self) -> str:
        """The URL clients connect to, user and password included."""
        return f"http://{self.user}:{self.password}@127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Make the data directory; chDB fills it."""
        self.data_dir.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """The server's command line; user and password travel in the environment."""
        module = "sunledger.embedded.clickhouse_server"
        argv = [sys.executable, "-m", module, "--data", str(self.data_dir), "--port", str(self.port)]
        # The package may be used from a checkout: the child finds it where we did.
        root = str(Path(__file__).resolve().parents[2])
        return Command(argv, {USER_VARIABLE: self.user, PASSWORD_VARIABLE: self.password}, Path(root))

    def probe(self) -> None:
        """SELECT 1 as the configured user."""
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/", data=b"SELECT 1", headers={"Authorization": f"Basic {token}"}
        )
        # A proxy from the environment must never see a loopback request.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=2) as response:
            if response.read() != b"1\n":
                raise PartFailed(self.name, "SELECT 1 did not answer 1")
