"""What the wiring hands to the API: plain settings and the parts it talks to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.ledger.tails import TopicTails
from producers.addresses import PUBLIC_ONLY, Hosts
from producers.publisher import Publisher
from schemas.personal import PseudonymProfile

if TYPE_CHECKING:
    from producers.sheets import SheetsAccess  # Google's library takes long to import


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Plain values, each with its unit.

    Attributes:
        issuer: `iss` of the tokens.
        keys_directory: where the signing keys are.
        credential_key: 32 bytes that encrypt dataset credentials.
        credential_keys_before: those that it replaces, which still open them.
        admin_email: the first admin, made at start unless a user has this e-mail.
        admin_password: his password; empty makes none.
        pseudonym_secret: master secret of pseudonyms, for corrected rows.
        seal_secret: master secret of sealed originals, which also signs replays.
        pseudonym_profile: how pseudonyms are made.
        topic_prefix: prefix of every topic's name.
        user_token_lifetime: how long a login lasts.
        device_token_lifetime: how long a device's token lasts.
        organization_token_lifetime: how long an organisation's token lasts.
        max_body_bytes: of a request with reads or payments, packed and unpacked; others may have 1 MiB.
        max_reads: reads in one request.
        max_payments: payments in one request.
        publish_timeout_s: how long a request waits for the broker; 503 comes within 5 s.
        reads_limit: requests of one device.
        payments_limit: requests with payments of one organisation, and, counted apart, its questions for
            receipts.
        login_limit: logins for one e-mail.
        login_address_limit: logins from one address.
        source_hosts: hosts that datasets may name.
        uploads_directory: where uploaded files are kept, sealed, until they are published.
        uploads_reserve_bytes: of that disk, left free.
        max_upload_bytes: of an uploaded file.
    """

    issuer: str
    keys_directory: Path
    uploads_directory: Path
    credential_key: bytes = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)
    pseudonym_secret: bytes = field(repr=False)
    seal_secret: bytes = field(repr=False)
    pseudonym_profile: PseudonymProfile = "hmac"
    topic_prefix: str = ""
    user_token_lifetime: timedelta = timedelta(hours=8)
    device_token_lifetime: timedelta = timedelta(days=365)
    organization_token_lifetime: timedelta = timedelta(days=365)
    max_body_bytes: int = 8 * 1024 * 1024
    max_reads: int = 10_000
    max_payments: int = 10_000
    publish_timeout_s: float = 4.0
    reads_limit: str = "600/minute"
    payments_limit: str = "300/minute"
    login_limit: str = "60/minute"
    login_address_limit: str = "300/minute"
    source_hosts: Hosts = PUBLIC_ONLY
    credential_keys_before: tuple[bytes, ...] = field(default=(), repr=False)
    uploads_reserve_bytes: int = 256 * 1024 * 1024
    max_upload_bytes: int = 2 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileParts:
    """What uploaded files are published with.

    Attributes:
        publisher: waits longer for the broker than one for requests; started and stopped by the wiring.
        unjudged: counts rows that are published and not judged yet; called from one thread.
    """

    publisher: Publisher
    unjudged: Callable[[], int]


@dataclass(frozen=True, slots=True)
class ApiParts:
    """The parts of a running installation, as the API uses them.

    Attributes:
        sql_url: SQLAlchemy URL; `api.migrate.upgrade` has run on it.
        redis_url: Redis or Valkey.
        publisher: acknowledged way into the topics, started and stopped by the wiring.
        clickhouse: makes a client for the read queries; called from worker threads.
        settings: plain values.
        broker_ready: raises when the broker does not answer (for /readyz); called in a worker thread.
        tails: looks at records that wait to be judged; None when there is no broker to ask.
        sheets: how Google Sheets are read, for dry runs of their datasets; None: they are not.
        files: publishes uploaded files; None leaves them to the other processes of the directory.
    """

    sql_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    publisher: Publisher
    clickhouse: Callable[[], Any]
    settings: ApiSettings
    broker_ready: Callable[[], None]
    tails: TopicTails | None = None
    sheets: "SheetsAccess | None" = None
    files: FileParts | None = None
