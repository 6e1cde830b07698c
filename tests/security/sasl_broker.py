"""The embedded broker with the listeners, users and authorizer of docker-compose.yml."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from producers.kafka_access import KafkaAccess
from sunledger.embedded.aot_training import get_ready
from sunledger.embedded.kafka import Kafka
from sunledger.embedded.part import start, wait_ready
from tests.support.workers import free_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = re.compile(r"\$\{KAFKA_(\w+)_PASSWORD:\?\}")
TAKEN = re.compile(r"KAFKA_(LISTENER_NAME_\w+|SASL_\w+|AUTHORIZER_\w+|ALLOW_\w+|SUPER_USERS)")
"""Variables that are taken over as they are; listeners get the addresses of this machine."""


def compose_properties(ports: dict[str, int]) -> str:
    """The compose file's settings of the broker as properties, made as its image makes them."""
    given = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    environment: dict[str, str] = given["services"]["kafka"]["environment"]
    protocols = environment["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]
    listeners = [listener.split("://")[0] for listener in environment["KAFKA_LISTENERS"].split(",")]
    places = ",".join(f"{name}://127.0.0.1:{ports[name]}" for name in listeners)
    lines = [
        f"listeners={places}",
        "advertised.listeners=" + ",".join(p for p in places.split(",") if not p.startswith("CONTROLLER")),
        f"listener.security.protocol.map={protocols}",
        f"inter.broker.listener.name={environment['KAFKA_INTER_BROKER_LISTENER_NAME']}",
    ]
    for name, value in environment.items():
        if TAKEN.fullmatch(name):
            key = name.removeprefix("KAFKA_").lower().replace("_", ".")
            lines.append(f"{key}={PASSWORD.sub(lambda found: password(found[1].lower()), str(value))}")
    return "\n".join(lines) + "\n"


def password(user: str) -> str:
    """The password of a user of the test's broker."""
    return f"{user}-canary-password"


@dataclass(frozen=True)
class _Broker(Kafka):
    """The embedded broker with more properties; of two with one name the later one counts."""

    more: str = ""

    def prepare(self) -> None:
        """As the embedded one, with `more` at the end."""
        super().prepare()
        with self._properties.open("a", encoding="utf-8") as file:
            file.write(self.more)


class SaslBroker:
    """Runs while the `with` statement does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ports = {name: free_port() for name in ("CLIENTS", "HOST", "LOCAL", "CONTROLLER")}
        more = compose_properties(self.ports)
        self._part = _Broker(folder, self.ports["LOCAL"], self.ports["CONTROLLER"], more=more)

    def __enter__(self) -> Self:
        get_ready(["kafka"])
        self._child = start(self._part, self._folder / "logs")
        try:
            wait_ready(self._part, self._child)
        except BaseException:
            self._child.stop(5)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop(15)

    @property
    def servers(self) -> str:
        """Where users are asked who they are."""
        return f"127.0.0.1:{self.ports['CLIENTS']}"

    def access(self, user: str, with_password: str | None = None) -> KafkaAccess:
        """The broker as a user."""
        given = password(user) if with_password is None else with_password
        return KafkaAccess(self.servers, "SASL_PLAINTEXT", "PLAIN", user, given)

    def environment(self, user: str) -> dict[str, str]:
        """Settings of a process that is this user."""
        return {
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_username": user,
            "kafka_password": password(user),
        }
