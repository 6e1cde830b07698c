"""The embedded broker with a second door, which the proxy stands before."""

import dataclasses
from dataclasses import dataclass
from typing import Self

from sunledger.embedded.kafka import Kafka


@dataclass(frozen=True)
class ProxiedKafka(Kafka):
    """A broker that tells whoever came through the proxy to come back through it.

    Clients ask a broker for its address and connect to what it says: a proxy before the plain listener
    would be left behind by the first answer.

    Attributes:
        far_port: where the second listener answers.
        proxy_port: what it tells clients.
    """

    far_port: int = 0
    proxy_port: int = 0

    @classmethod
    def of(cls, plain: Kafka, far_port: int, proxy_port: int) -> Self:
        """The same broker with a second door."""
        names = [field.name for field in dataclasses.fields(Kafka)]
        given = {name: getattr(plain, name) for name in names}
        return cls(**given, far_port=far_port, proxy_port=proxy_port)

    def prepare(self) -> None:
        """As the plain one, and the second listener."""
        super().prepare()
        doors = {
            "listeners=": f",PROXIED://127.0.0.1:{self.far_port}",
            "advertised.listeners=": f",PROXIED://127.0.0.1:{self.proxy_port}",
        }
        lines = self._properties.read_text(encoding="utf-8").splitlines()
        found = [
            line + "".join(more for name, more in doors.items() if line.startswith(name)) for line in lines
        ]
        found.append(
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT"
        )
        self._properties.write_text("\n".join(found) + "\n", encoding="utf-8")
