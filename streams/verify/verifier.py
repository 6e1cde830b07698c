"""The verifier's loop: pass after pass over all data topics, and what it says of itself."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from producers.kafka_access import Kafka
from schemas.topics import PAYMENTS, READS
from sinks.client import ClientFactory
from sinks.errors import classify
from streams.verify import metrics
from streams.verify.broker import Broker, BrokerAway
from streams.verify.examine import Examiner
from streams.verify.findings import Finding, Kind, Partition, Span
from streams.verify.notebook import Notebook
from streams.verify.topic import TopicPass

log = structlog.get_logger(__name__)

VERSIONS: Final = {PAYMENTS: "payment_versions", READS: "read_versions"}
"""The data topics, and the table that holds the versions of each."""
NAMED: Final = 5
"""Faults that `/readyz` names one by one."""


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """What a verifier needs.

    Attributes:
        kafka: the broker, with credentials if it asks for them.
        group: full name of the workers' consumer group.
        interval_s: pause between two passes, seconds.
        full_interval_s: from the end of a full pass to the begin of the next one, seconds.
        stale_s: seconds without a whole pass after which the verifier is not ready.
        window: most offsets of a partition that are compared at once.
        losses: offsets that are known to be lost.
    """

    kafka: Kafka
    topic_prefix: str
    group: str
    interval_s: float = 5.0
    full_interval_s: float = 21_600.0
    stale_s: float = 60.0
    window: int = 500_000
    losses: Mapping[Partition, Sequence[Span]] = field(default_factory=dict)


class Verifier:
    """Compares until it is stopped. `run` belongs to one thread; `why_not_ready` may be asked from any."""

    def __init__(self, config: VerifierConfig, clients: ClientFactory) -> None:
        self._config = config
        self._clients = clients
        self._client: Client | None = None
        self._notebook = Notebook()
        tables = {spec.full_name(config.topic_prefix): table for spec, table in VERSIONS.items()}
        self._broker = Broker(config.kafka, config.group)
        examiner = Examiner(tables, config.losses)
        self._topics = [
            TopicPass(topic, table, self._broker, examiner, self._notebook, config.window)
            for topic, table in tables.items()
        ]
        self._labels = [(topic, kind) for topic in tables for kind in Kind]
        self._faults: list[Finding] = []
        self._passed_at = time.monotonic()
        self._swept_at: float | None = None
        self._sweeping = False
        self._away = ""

    def run(self, stop: threading.Event) -> None:
        """Compare until `stop` is set. An outage is waited out, anything unexpected comes up.

        The first full pass goes on without pauses; later ones take their turn between the others.
        """
        while not stop.is_set():
            whole = self.run_pass()
            if not whole or self._swept_at is not None:
                stop.wait(self._config.interval_s)
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._forget_client()
        self._broker.close()

    def run_pass(self) -> bool:
        """One pass over all topics; False when it ended early because a part was away."""
        began = time.monotonic()
        try:
            self._pass()
        except BrokerAway as exc:
            return self._put_off("kafka", str(exc))
        except (ClickHouseError, HTTPError, OSError) as exc:
            return self._put_off("clickhouse", str(classify(exc)))
        self._passed_at = time.monotonic()
        self._away = ""
        metrics.PASS_SECONDS.observe(self._passed_at - began)
        metrics.LAST_PASS.set_to_current_time()
        return True

    @property
    def faults(self) -> Sequence[Finding]:
        """What is wrong now, as the last pass left it."""
        return self._faults

    def why_not_ready(self) -> str | None:
        """None when everything was compared lately and nothing is wrong; else what is."""
        faults = self._faults
        if faults:
            more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
            return "; ".join(str(fault) for fault in faults[:NAMED]) + more
        silent_s = time.monotonic() - self._passed_at
        if silent_s > self._config.stale_s:
            return f"nothing was compared for {silent_s:.0f} s" + (f": {self._away}" if self._away else "")
        return None if self._swept_at is not None else "the first full pass is under way"

    def _pass(self) -> None:
        if self._client is None:
            self._client = self._clients()
        if self._sweep_is_due():
            for topic in self._topics:
                topic.start_sweep()
            self._sweeping = True
        try:
            for topic in self._topics:
                topic.run(self._client)
        finally:
            self._show()
        if self._sweeping and all(topic.swept for topic in self._topics):
            self._sweeping = False
            self._swept_at = time.monotonic()
            metrics.LAST_FULL_PASS.set_to_current_time()

    def _sweep_is_due(self) -> bool:
        if self._sweeping:
            return False
        return self._swept_at is None or time.monotonic() - self._swept_at >= self._config.full_interval_s

    def _show(self) -> None:
        self._faults = self._notebook.faults
        wrong = dict.fromkeys(self._labels, 0)
        for fault in self._faults:
            wrong[fault.partition.topic, fault.kind] += fault.count
        for (topic, kind), count in wrong.items():
            metrics.FAULTY.labels(topic, kind.value).set(count)
        metrics.SUSPICIONS.set(self._notebook.suspicions)

    def _put_off(self, part: str, why: str) -> bool:
        self._away = why
        metrics.FAILURES.labels(part).inc()
        log.warning("verify_put_off", part=part, error=why)
        self._forget_client()
        return False

    def _forget_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
