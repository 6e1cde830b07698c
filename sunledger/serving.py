"""The API's process: settings in, parts wired, served until stopped."""

import uvicorn

from api.app import create_app
from api.ledger.tails import KafkaTails
from api.ops.broker import BrokerCheck
from api.parts import ApiParts, FileParts
from api.parts import ApiSettings as ApiValues
from producers.pace import Unjudged
from producers.publisher import FILE_DELIVERY_TIMEOUT_S, Publisher
from schemas.topics import PAYMENTS
from sinks import client as clickhouse
from sunledger import migrations
from sunledger.settings import ApiSettings, raw

READ_LIMIT_S = 10.0


def run_api(settings: ApiSettings) -> int:
    """Run the API until SIGTERM."""
    migrations.sql(settings.sql_url.get_secret_value())
    publisher = Publisher(settings.kafka_access(), client_id="sunledger-api")
    files = Publisher(
        settings.kafka_access(), client_id="sunledger-uploads", delivery_timeout_s=FILE_DELIVERY_TIMEOUT_S
    )
    payments = PAYMENTS.full_name(settings.topic_prefix)
    unjudged = Unjudged(settings.kafka_access(), f"{settings.topic_prefix}{settings.group}", payments)
    broker = BrokerCheck(settings.kafka_access())
    parts = ApiParts(
        sql_url=settings.sql_url.get_secret_value(),
        redis_url=settings.redis_url.get_secret_value(),
        publisher=publisher,
        clickhouse=clickhouse.factory(
            settings.clickhouse_url.get_secret_value(),
            database=settings.clickhouse_database,
            timeout_s=READ_LIMIT_S,
        ),
        settings=_api_values(settings),
        broker_ready=broker,
        tails=KafkaTails(settings.kafka_access()),
        sheets=settings.sheets() if settings.google_credentials_file else None,
        files=FileParts(files, unjudged),
    )
    try:
        uvicorn.run(
            create_app(parts),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            access_log=False,  # paths of reads hold external ids
            server_header=False,
            timeout_graceful_shutdown=10,
        )
    finally:
        files.close()
        publisher.close()
    return 0


def _api_values(settings: ApiSettings) -> ApiValues:
    user_lifetime, device_lifetime, organization_lifetime = settings.lifetimes()
    credential_key, *before = settings.credential_keys()
    return ApiValues(
        issuer=settings.issuer,
        keys_directory=settings.keys_directory,
        credential_key=credential_key,
        credential_keys_before=tuple(before),
        admin_email=settings.admin_email,
        admin_password=settings.admin_password.get_secret_value(),
        pseudonym_secret=raw(settings.pseudonym_secret),
        seal_secret=raw(settings.seal_secret),
        pseudonym_profile=settings.pseudonym_profile,
        topic_prefix=settings.topic_prefix,
        user_token_lifetime=user_lifetime,
        device_token_lifetime=device_lifetime,
        organization_token_lifetime=organization_lifetime,
        max_body_bytes=settings.max_body_bytes,
        max_reads=settings.max_reads,
        max_payments=settings.max_payments,
        reads_limit=settings.reads_limit,
        uploads_directory=settings.uploads_directory,
        uploads_reserve_bytes=settings.uploads_reserve_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        payments_limit=settings.payments_limit,
        source_hosts=settings.hosts(),
    )
