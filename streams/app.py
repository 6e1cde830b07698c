"""The Faust application: batch transport, agents, nothing of Faust that opens a port or keeps a table."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT
from yarl import URL

from producers.kafka_access import KafkaAccess, access
from streams.config import WorkerConfig
from streams.transport import Batch, BatchTransport, batch_topic, batches
from streams.transport.consumer import BatchConsumer
from streams.transport.listener import Listener

Handle = Callable[[Batch], Awaitable[None]]
"""Takes one batch; may wait, must not raise: what it raises ends the process."""

FAR_BEYOND_ANY_OUTAGE_S = 86_400.0
"""aiokafka leaves the group for good when polling pauses longer than this; heartbeats have a thread of
their own, and liveness is the watchdog's."""


def make_app(
    config: WorkerConfig,
    listener: Listener,
    compacted: frozenset[str],
    folder: Path,
    log_id: Callable[[str], str] = lambda topic: "",
) -> faust.App:
    """A Faust app on the batch transport.

    Its web server stays off: it would listen on every address with routes of its own. Faust wants a
    folder for tables, of which there are none.
    """
    kafka = access(config.kafka)
    url = [URL(f"kafka://{server.strip()}") for server in kafka.servers.split(",")]
    app = faust.App(
        config.group,
        broker=url,
        broker_credentials=_credentials(kafka),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=2,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        broker_max_poll_records=config.fetch_rows,
        broker_max_poll_interval=FAR_BEYOND_ANY_OUTAGE_S,
        broker_session_timeout=config.session_timeout_s,
        broker_heartbeat_interval=config.heartbeat_s,
        broker_rebalance_timeout=config.rebalance_timeout_s,
        broker_request_timeout=max(90.0, config.rebalance_timeout_s + 30.0),
        broker_commit_interval=config.commit_interval_s,
        store="memory://",
        datadir=folder,
        # with replicas, the default, Faust's assignor leaves a joining worker without partitions
        table_standby_replicas=0,
    )
    app.transport = BatchTransport(
        url,
        app,
        listener=listener,
        compacted=compacted,
        hand_over_s=config.rebalance_timeout_s / 2,
        log_id=log_id,
    )
    return app


def _credentials(kafka: KafkaAccess) -> CredentialsT | None:
    """What Faust's own client shows the broker; the protocol follows from what is given."""
    if kafka.has_user:
        return SASLCredentials(
            username=kafka.username,
            password=kafka.password,
            mechanism=kafka.mechanism,
            ssl_context=kafka.ssl_context(),
        )
    return SSLCredentials(kafka.ssl_context()) if kafka.is_encrypted else None


def add_agents(
    app: faust.App, handlers: Mapping[tuple[str, ...], Handle], fatal: Callable[[BaseException], None]
) -> None:
    """One agent per entry: names of its topics, and what takes its batches.

    An agent that let an exception out would be restarted by Faust with the *next* event, its batch
    lost to this process; so the exception ends the process instead.
    """
    for topics, handle in handlers.items():
        name = "-".join(topic.rsplit(".", 1)[-1] for topic in topics)

        async def agent(stream: faust.StreamT, handle: Handle = handle) -> None:
            async for batch in batches(stream):
                try:
                    await handle(batch)
                except Exception as exc:  # noqa: BLE001 - anything unexpected ends the process
                    fatal(exc)
                    return

        app.agent(batch_topic(app, *topics), name=name)(agent)


def consumer_of(app: faust.App) -> BatchConsumer:
    """The app's consumer, once it is made."""
    consumer: BatchConsumer = app.consumer
    return consumer
