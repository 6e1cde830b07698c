"""Apache Kafka: one broker that is its own KRaft controller."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient

from sunledger.embedded import java
from sunledger.embedded.errors import PartFailed
from sunledger.embedded.part import Command
from sunledger.embedded.process import tail

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={log_dirs}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
log.message.timestamp.type=LogAppendTime
# Tests use short sessions, and nobody waits for a second member of a group.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# After kill -9 the sessions of the old process must not delay the new one.
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=400
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=16777216
# The registry's topics are small: compacting them soon costs nothing.
log.cleaner.backoff.ms=1000
"""

_LOG4J = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
logger.config.name=org.apache.kafka.common.config.AbstractConfig
logger.config.level=error
"""

_HEAP_MB = 512
_PROBE_S = 2.0


@dataclass(frozen=True)
class Kafka:
    """The broker over `data_dir`, answering on 127.0.0.1:`port`."""

    data_dir: Path
    port: int
    controller_port: int
    name: str = "kafka"
    after: Sequence[str] = ()
    start_timeout_s: float = 90.0

    @property
    def bootstrap(self) -> str:
        """The address clients connect to."""
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the configuration, and format the storage once with a cluster id that stays."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        logs = self.data_dir / "log"
        text = _PROPERTIES.format(port=self.port, controller_port=self.controller_port, log_dirs=logs)
        self._properties.write_text(text, encoding="utf-8")
        self._log4j.write_text(_LOG4J, encoding="utf-8")
        if not (logs / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        cluster_id = self.data_dir / "cluster_id"
        if not cluster_id.exists():
            cluster_id.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))
        # "--ignore-formatted": a format cut short by a crash is finished, not refused.
        # "=": an id may start with "-".
        args = [
            "format",
            f"--cluster-id={cluster_id.read_text()}",
            "-c",
            str(self._properties),
            "--ignore-formatted",
        ]
        log = self.data_dir / "format.log"
        argv = java.command("kafka", "kafka.tools.StorageTool", args, heap_mb=128, flags=self._flags)
        if java.run(argv, log, timeout_s=60) != 0:
            raise PartFailed(self.name, "storage could not be formatted\n" + "\n".join(tail(log)))

    def command(self) -> Command:
        """The broker's command line."""
        argv = java.command("kafka", "kafka.Kafka", [str(self._properties)], _HEAP_MB, self._flags)
        return Command(argv)

    def probe(self) -> None:
        """List the topics as a client does."""
        # The probe of a starting broker fails many times: silence librdkafka's lines on standard error.
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 1500})
        admin.list_topics(timeout=_PROBE_S)

    @property
    def _properties(self) -> Path:
        return self.data_dir / "server.properties"

    @property
    def _log4j(self) -> Path:
        return self.data_dir / "log4j2.properties"

    @property
    def _flags(self) -> list[str]:
        return [f"-Dlog4j2.configurationFile={self._log4j}", "-Dlog4j2.disable.jmx=true"]
