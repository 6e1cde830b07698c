"""S3Proxy: a real S3 server, with signature checks, over a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from sunledger.embedded import java
from sunledger.embedded.files import write_private
from sunledger.embedded.part import Command

REGION = "us-east-1"

_PROPERTIES = """\
s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={access_key}
s3proxy.credential={secret_key}
# A body in one piece is held whole to check its signature; larger ones come in parts.
s3proxy.v4-max-non-chunked-request-size=67108864
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir={folder}
"""

_LOGBACK = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""

_HEAP_MB = 384


@dataclass(frozen=True)
class S3:
    """S3 over `data_dir`/objects (a folder per bucket), answering on 127.0.0.1:`port`, path style."""

    data_dir: Path
    port: int
    access_key: str
    secret_key: str
    name: str = "s3"
    after: Sequence[str] = ()
    start_timeout_s: float = 60.0

    @property
    def url(self) -> str:
        """The endpoint URL."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the configuration; it holds the secret key, so its mode is 0600."""
        folder = self.data_dir / "objects"
        folder.mkdir(parents=True, exist_ok=True)
        text = _PROPERTIES.format(
            port=self.port, access_key=self.access_key, secret_key=self.secret_key, folder=folder
        )
        write_private(self._properties, text)
        self._logback.write_text(_LOGBACK, encoding="utf-8")

    def command(self) -> Command:
        """The server's command line."""
        flags = [f"-Dlogback.configurationFile={self._logback}"]
        args = ["--properties", str(self._properties)]
        return Command(java.command("s3proxy", "org.gaul.s3proxy.Main", args, _HEAP_MB, flags))

    def probe(self) -> None:
        """List the buckets with a signed request."""
        _prober(self.url, self.access_key, self.secret_key).list_buckets()

    @property
    def _properties(self) -> Path:
        return self.data_dir / "s3proxy.conf"

    @property
    def _logback(self) -> Path:
        return self.data_dir / "logback.xml"


@cache
def _prober(url: str, access_key: str, secret_key: str) -> Any:
    # Making a client costs a tenth of a second of processor time, and a supervisor looks all the time.
    return client(url, access_key, secret_key, timeout_s=2)


def client(url: str, access_key: str, secret_key: str, timeout_s: float = 30) -> Any:
    """A boto3 client for a path-style endpoint."""
    config = Config(
        s3={"addressing_style": "path"},
        connect_timeout=timeout_s,
        read_timeout=timeout_s,
        retries={"total_max_attempts": 1},
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=config,
    )
