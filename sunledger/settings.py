"""Settings of every process, read from the environment (`SUNLEDGER_…`) once, in `main`.

One frozen class per process; all faults are reported at once, and no value of a secret is ever in the
report. Nothing but this module reads the environment.
"""

import os
import socket
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from producers.addresses import Hosts
from producers.kafka_access import KafkaAccess, Mechanism, Protocol
from streams.verify.losses import known_losses

if TYPE_CHECKING:
    from producers.sheets import SheetsAccess

PREFIX = "SUNLEDGER_"


class SettingsFaults(Exception):
    """One or more settings are missing or wrong; the message names each, its variable and the reason."""


def _secret(value: SecretStr) -> SecretStr:
    """Secrets are urlsafe base64 of at least 32 bytes."""
    try:
        raw = urlsafe_b64decode(value.get_secret_value())
    except (Base64Error, ValueError):
        raise ValueError("is not urlsafe base64") from None
    if len(raw) < 32:
        raise ValueError(f"holds {len(raw)} bytes, at least 32 are needed")
    return value


Secret = Annotated[SecretStr, AfterValidator(_secret)]


def raw(secret: SecretStr) -> bytes:
    """The bytes of a `Secret`."""
    return urlsafe_b64decode(secret.get_secret_value())


class _Process(BaseSettings):
    """What every process has."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="One JSON object a line, or for people."
    )


class _Kafka(_Process):
    kafka: str = Field(description="Bootstrap servers, host:port[,host:port].")
    topic_prefix: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="Put before every topic's name."
    )

    topic_replication: int = Field(1, ge=1, le=9, description="Replicas of each topic when it is created.")
    kafka_security_protocol: Protocol = Field("PLAINTEXT", description="Kafka's security.protocol.")
    kafka_sasl_mechanism: Mechanism = Field("SCRAM-SHA-512", description="How the password is shown.")
    kafka_username: str = Field("", description="User on the broker, for the SASL protocols.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    kafka_ca_file: Path | None = Field(
        None, description="PEM file of who may sign the broker's certificate; empty: the system's."
    )

    @model_validator(mode="after")
    def _kafka_credentials_fit(self) -> Self:
        """Credentials that the protocol would not show are a mistake, and so are missing ones."""
        given = bool(self.kafka_username), bool(self.kafka_password.get_secret_value())
        protocol = self.kafka_security_protocol
        if protocol.startswith("SASL_") and not all(given):
            raise ValueError(f"KAFKA_USERNAME and KAFKA_PASSWORD are required, the protocol is {protocol}")
        if not protocol.startswith("SASL_") and any(given):
            raise ValueError(f"KAFKA_USERNAME and KAFKA_PASSWORD are not used, the protocol is {protocol}")
        if self.kafka_ca_file and not protocol.endswith("SSL"):
            raise ValueError(f"KAFKA_CA_FILE is not used, the protocol is {protocol}")
        if self.kafka_ca_file and not self.kafka_ca_file.is_file():
            raise ValueError("KAFKA_CA_FILE is not a file")
        return self

    def kafka_access(self) -> KafkaAccess:
        """The broker with the credentials for it."""
        return KafkaAccess(
            self.kafka,
            self.kafka_security_protocol,
            self.kafka_sasl_mechanism,
            self.kafka_username,
            self.kafka_password.get_secret_value(),
            str(self.kafka_ca_file or ""),
        )


class _ClickHouse(_Process):
    clickhouse_url: SecretStr = Field(description="http(s)://user:password@host:port.")
    clickhouse_database: str = Field(
        "sunledger", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", description="ClickHouse database."
    )


class _Sql(_Process):
    sql_url: SecretStr = Field(
        description="SQLAlchemy URL of the registry, sqlite:/// or postgresql+psycopg://."
    )


def _hosts(value: str) -> str:
    """A list that `producers.addresses.Hosts` can read."""
    Hosts(value.split(","))
    return value


class _Sources(_Process):
    source_hosts: Annotated[str, AfterValidator(_hosts)] = Field(
        "",
        description="Hosts that datasets may name besides public ones: name, address or network, each with"
        " :port or without, parted by commas.",
    )

    def hosts(self) -> Hosts:
        """The hosts that datasets may name."""
        return Hosts(self.source_hosts.split(","))


def _google_key(path: Path | None) -> Path | None:
    """A key file that `producers.google_account` can read."""
    if path is not None:
        # Google's library takes long to import, and most installations do without it.
        from producers.google_account import ServiceAccount  # noqa: PLC0415

        ServiceAccount.read(path)
    return path


class _Sheets(_Process):
    google_credentials_file: Annotated[Path | None, AfterValidator(_google_key)] = Field(
        None,
        description="Key file (JSON) of the service account that reads Google Sheets; empty: datasets of that"
        " source fail.",
    )
    sheets_url: str = Field(
        "https://sheets.googleapis.com",
        pattern=r"^https?://[^/?#@\s]+/?$",
        description="Base of the Sheets API, without a path.",
    )

    def sheets(self) -> "SheetsAccess":
        """What is needed to read Google Sheets."""
        from producers.google_account import ServiceAccount  # noqa: PLC0415 - as above
        from producers.sheets import SheetsAccess  # noqa: PLC0415

        path = self.google_credentials_file
        return SheetsAccess(ServiceAccount.read(path) if path else None, self.sheets_url)


class _Credentials(_Process):
    credential_key: Secret = Field(description="Encrypts the credentials of datasets.")
    credential_key_before: Secret | None = Field(
        None, description="The key before, while credentials are sealed anew with the new one."
    )

    def credential_keys(self) -> tuple[bytes, ...]:
        """The key, and the one before if there is one: 32 bytes each."""
        return tuple(raw(key)[:32] for key in (self.credential_key, self.credential_key_before) if key)


class _Port(_Process):
    ops_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    ops_port: int = Field(0, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz; 0 is none.")


class MigrateSettings(_Kafka, _ClickHouse, _Sql):
    """Settings of `sunledger migrate`."""

    group: str = Field("sunledger", min_length=1, description="The workers' consumer group.")
    kafka_grants: bool = Field(
        False,
        description="Whether the broker's users api, producers, worker, verifier and integrator get their"
        " rights.",
    )


class PartitionsSettings(_Kafka):
    """Settings of `sunledger add-partitions`."""

    group: str = Field("sunledger", min_length=1, description="The workers' consumer group.")


class ApiSettings(_Kafka, _ClickHouse, _Sql, _Sources, _Sheets, _Credentials):
    """Settings of `sunledger api`."""

    redis_url: SecretStr = Field(description="Redis or Valkey.")
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(8000, ge=1, le=65535, description="Port the API listens on.")
    issuer: str = Field("sunledger", min_length=1, description="iss of the tokens.")
    keys_directory: Path = Field(description="Where the signing keys are kept (mode 0700).")
    pseudonym_secret: Secret = Field(description="Master secret of pseudonyms.")
    pseudonym_profile: Literal["hmac", "sha256"] = Field("hmac", description="How pseudonyms are made.")
    seal_secret: Secret = Field(description="Master secret of sealed originals.")
    admin_email: str = Field(description="The first admin; made at start when no user has this e-mail.")
    admin_password: SecretStr = Field(SecretStr(""), description="Password of the first admin.")
    device_token_days: int = Field(365, ge=1, le=3650, description="Lifetime of a device's token, days.")
    organization_token_days: int = Field(
        365, ge=1, le=3650, description="Lifetime of an organisation's token, days."
    )
    user_token_hours: int = Field(8, ge=1, le=168, description="Lifetime of a login, hours.")
    max_body_bytes: int = Field(
        8 * 1024 * 1024,
        ge=1024,
        description="Largest body of reads or payments, packed and unpacked, bytes; of other requests 1 MiB"
        " at most.",
    )
    max_reads: int = Field(10_000, ge=1, description="Most reads in one request.")
    max_payments: int = Field(10_000, ge=1, description="Most payments in one request.")
    reads_limit: str = Field("600/minute", description="Requests of one device, as count/period.")
    uploads_directory: Path = Field(
        description="Where uploaded files are kept, encrypted, until they are published (mode 0700); of this"
        " process, or shared by several on one machine."
    )
    uploads_reserve_bytes: int = Field(
        256 * 1024 * 1024, ge=0, description="Free bytes of that disk that uploads leave to others."
    )
    max_upload_bytes: int = Field(
        2 * 1024 * 1024 * 1024, ge=1024, description="Largest uploaded file, bytes."
    )
    group: str = Field(
        "sunledger", min_length=1, description="The workers' consumer group: how far rows are judged."
    )
    payments_limit: str = Field(
        "300/minute", description="Requests with payments of one organisation, as count/period."
    )

    def lifetimes(self) -> tuple[timedelta, timedelta, timedelta]:
        """Lifetime of a login, of a device's token and of an organisation's."""
        return (
            timedelta(hours=self.user_token_hours),
            timedelta(days=self.device_token_days),
            timedelta(days=self.organization_token_days),
        )


class WorkerSettings(_Kafka, _ClickHouse, _Port):
    """Settings of `sunledger worker`."""

    group: str = Field("sunledger", min_length=1, description="Consumer group, put after the topic prefix.")
    worker_name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="Name of this process in the ledger's ranges.",
    )
    pseudonym_secret: Secret = Field(description="Master secret of pseudonyms.")
    pseudonym_profile: Literal["hmac", "sha256"] = Field("hmac", description="How pseudonyms are made.")
    seal_secret: Secret = Field(description="Master secret of sealed originals.")
    session_timeout_s: float = Field(20.0, ge=1, description="Kafka session time-out, seconds.")
    heartbeat_s: float = Field(3.0, gt=0, description="Seconds between heartbeats.")
    rebalance_timeout_s: float = Field(60.0, ge=2, description="Longest hand-over at a rebalance, seconds.")
    insert_limit_s: int = Field(
        30, ge=1, description="Longest time an insert may run on the server, seconds."
    )
    commit_interval_s: float = Field(1.0, gt=0, description="Seconds between commits of offsets.")
    fetch_rows: int = Field(20_000, ge=1, description="Most records of one fetch.")
    max_rows_in_hand: int = Field(120_000, ge=1, description="Rows at which a topic's agents are held back.")
    brake_share: float = Field(
        0.5, gt=0, le=1, description="Share of refused rows above which a dataset is paused; 1 is never."
    )
    brake_run: int = Field(
        500, ge=1, description="Refused rows one after the other at which a dataset is paused."
    )
    topic_brake: bool = Field(
        True, description="Whether a topic stops when most organisations fail together."
    )
    stall_limit_s: float = Field(300.0, ge=1, description="Seconds without progress that end the process.")


class ProducersSettings(_Kafka, _Sql, _Port, _Sources, _Sheets, _Credentials):
    """Settings of `sunledger producers`: the pollers, the outbox relay and the brakes."""

    group: str = Field(
        "sunledger", min_length=1, description="The workers' consumer group: how far rows are judged."
    )
    pollers: int = Field(4, ge=1, le=32, description="Datasets that this process deals with at a time.")
    schedule_jitter_s: float = Field(
        600.0,
        ge=0,
        le=43_200,
        description="Seconds after their time of day over which datasets of one schedule are spread.",
    )
    pseudonym_secret: Secret = Field(description="Master secret of pseudonyms.")
    pseudonym_profile: Literal["hmac", "sha256"] = Field("hmac", description="How pseudonyms are made.")
    seal_secret: Secret = Field(description="Master secret of sealed originals.")


def _losses(value: str) -> str:
    """Losses as the verifier's log writes them."""
    known_losses(value)
    return value


class VerifierSettings(_Kafka, _ClickHouse, _Port):
    """Settings of `sunledger verifier`."""

    group: str = Field(
        "sunledger", min_length=1, description="Consumer group of the workers, put after the topic prefix."
    )
    verify_interval_s: float = Field(5.0, gt=0, description="Seconds between two passes over what is new.")
    verify_full_interval_s: float = Field(
        21_600.0, gt=0, description="Seconds between two full passes over everything that is stored."
    )
    verify_stale_s: float = Field(
        60.0, gt=0, description="Seconds without a pass after which the verifier is not ready."
    )
    verify_window: int = Field(
        500_000, ge=1000, description="Most offsets of a partition that are compared at once."
    )
    known_losses: Annotated[str, AfterValidator(_losses)] = Field(
        "",
        description="Offsets that are lost for good and not to be reported any more, parted by commas, each"
        " topic:epoch:partition:first-last as the verifier's log gives it.",
    )


class WhySettings(_Process):
    """Settings of `sunledger why --server`: who asks there."""

    admin_email: str = Field(description="The admin that logs in.")
    admin_password: SecretStr = Field(description="Password of that admin.")


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **given: Any) -> S:
    """Read the settings of a process.

    Raises:
        SettingsFaults: naming every variable that is missing or wrong.
    """
    try:
        return kind(**given)
    except ValidationError as exc:
        lines = [
            f"  {PREFIX}{'_'.join(map(str, fault['loc'])).upper() or '…'}: {fault['msg']}"
            for fault in exc.errors(include_url=False, include_input=False, include_context=False)
        ]
    raise SettingsFaults("settings are missing or wrong:\n" + "\n".join(lines))
