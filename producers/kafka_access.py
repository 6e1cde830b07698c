"""How a client reaches the broker: servers, and the protocol, user and certificate it shows itself with.

Every Kafka client of ours is made from one of these: librdkafka's by `client_options`, Faust's by
`streams.app`. A plain string of bootstrap servers stands for a broker that asks for no credentials.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from confluent_kafka import KafkaError

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_REFUSED: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """A broker and the credentials for it.

    Attributes:
        servers: bootstrap servers, `host:port[,host:port]`.
        protocol: Kafka's `security.protocol`.
        mechanism: of SASL; means nothing without it.
        username: of SASL.
        password: of SASL; never printed.
        ca_file: PEM file of the authorities that may sign the broker's certificate; empty: the system's.
    """

    servers: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""

    @property
    def has_user(self) -> bool:
        """Whether a user name and a password are shown."""
        return self.protocol.startswith("SASL_")

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.protocol.endswith("SSL")

    def ssl_context(self) -> ssl.SSLContext | None:
        """What Python's own clients check the broker with; None without TLS.

        Raises:
            OSError: the file of authorities cannot be read, or holds no certificate.
        """
        return ssl.create_default_context(cafile=self.ca_file or None) if self.is_encrypted else None


Kafka = str | KafkaAccess
"""A broker: bootstrap servers alone, or with credentials."""


def access(kafka: Kafka) -> KafkaAccess:
    """The broker in its long form."""
    return KafkaAccess(kafka) if isinstance(kafka, str) else kafka


def client_options(kafka: Kafka, own: Mapping[str, Any]) -> dict[str, Any]:
    """librdkafka's configuration of a client: how to reach the broker, and the client's `own` options."""
    to = access(kafka)
    found: dict[str, Any] = {"bootstrap.servers": to.servers}
    if to.protocol != "PLAINTEXT":
        found["security.protocol"] = to.protocol
    if to.has_user:
        found |= {
            "sasl.mechanism": to.mechanism,
            "sasl.username": to.username,
            "sasl.password": to.password,
        }
    if to.is_encrypted and to.ca_file:
        found["ssl.ca.location"] = to.ca_file
    return {**found, **own}


def is_refusal(error: KafkaError) -> bool:
    """Whether the broker does not take the credentials; trying again with the same is of no use."""
    return error.code() in _REFUSED


def is_denial(error: KafkaError) -> bool:
    """Whether the broker knows the user and does not let him do this."""
    return error.code() in _DENIED


class Refusals:
    """Remembers that the broker refused the credentials: librdkafka tells it beside the calls only.

    Given to a client as its `error_cb`; `then` is called with every error first.
    """

    def __init__(self, then: Callable[[KafkaError], None] | None = None) -> None:
        self._then = then
        self.refused = False

    def __call__(self, error: KafkaError) -> None:
        """Take an error of the client in; called on the thread that polls it."""
        if self._then is not None:
            self._then(error)
        if is_refusal(error):
            self.refused = True
