"""A worker: everything of `streams/` put together for one process."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faust
import structlog
from faust.types import TP

from producers.collector import collect_seldom
from producers.publisher import Publisher
from schemas.origins import OriginSigner
from schemas.personal import Sealer
from schemas.topics import PAYMENTS, READS, kinds_by_topic
from sinks import client as clickhouse
from sinks import restore
from streams.app import Handle, add_agents, consumer_of, make_app
from streams.assembly import Assembly, TopicLine
from streams.config import WorkerConfig
from streams.dimensions import Dimensions
from streams.former_owner import ANSWER_S, FormerOwner
from streams.gates import Gates
from streams.handing import Handing
from streams.lease import GroupLease
from streams.outlet import Outlet
from streams.registry import Registry
from streams.registry_reader import RegistryBehind, RegistryReader
from streams.requeue import Requeue
from streams.resolve import Resolver
from streams.store import Abandoned, Always
from streams.topic_ids import TopicIds, TopicsMissing
from streams.transport.batch import Batch
from streams.turn import Prepared
from streams.watchdog import Watchdog

log = structlog.get_logger(__name__)

CATCH_UP_S = 5.0
"""Seconds for which the registry topics' end is waited for before it is asked for anew."""
CATCH_UP_PAUSE_S = 0.5
"""Seconds between two questions, when the answer was an error at once."""


class Worker:
    """One worker process. Made before the event loop of Faust runs; `run` blocks until it ends."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self._topics = {spec: spec.full_name(config.topic_prefix) for spec in (PAYMENTS, READS)}
        self._clients = clickhouse.factory(
            config.clickhouse_url, database=config.database, timeout_s=config.insert_limit_s + 5
        )
        signer, sealer = OriginSigner(config.seal_secret), Sealer(config.seal_secret)
        self._publisher = Publisher(
            config.kafka, client_id=config.name, delivery_timeout_s=30.0, linger_ms=20
        )
        self._registry_topics = tuple(kinds_by_topic(config.topic_prefix))
        self.topic_ids = TopicIds(config.kafka, [*self._topics.values(), *self._registry_topics])
        self.registry = Registry()
        self.registry_reader = RegistryReader(config.kafka, config.topic_prefix, self.registry)
        self._assembly = Assembly(
            config,
            self._clients,
            Resolver(self.registry, self._catch_up),
            Outlet(self._publisher, config.topic_prefix, signer),
            signer,
            sealer,
            self.topic_ids.partitions,
            self._lease,
        )
        self._requeue = Requeue(
            self._assembly.store("requeue"), self._publisher, sealer, signer, self._sweeps
        )
        self._lines: dict[str, TopicLine] = {}
        self._failure: BaseException | None = None
        self._ending = threading.Event()
        self._app: faust.App | None = None
        self._runner: faust.Worker | None = None

    # -- parts

    def _sweeps(self) -> bool:
        """The worker that has the registry's first topic replays what can be cured."""
        first = TP(self._registry_topics[0], 0)
        return first in dict(consumer_of(self.app).positions())

    def _catch_up(self) -> None:
        while not self._ending.is_set():
            try:
                return self.registry_reader.catch_up(CATCH_UP_S)
            except RegistryBehind as exc:
                log.warning("registry_behind", error=str(exc))
                self._ending.wait(CATCH_UP_PAUSE_S)
        raise Abandoned

    def _lease(self, turn: Sequence[Prepared]) -> GroupLease:
        return self._lease_of([prepared.batch for prepared in turn])

    def _lease_of(self, batches: Sequence[Batch]) -> GroupLease:
        return GroupLease(consumer_of(self.app), batches, self.config.session_timeout_s)

    @property
    def ready(self) -> bool:
        """Whether every assigned partition is restored. Asked from another thread than the loop's.

        The consumer itself must not be asked: Faust makes it on first use, on the loop of whoever asks.
        """
        return self._app is not None and self.gates.all_open

    def why_not_ready(self) -> str | None:
        """None when ready; otherwise what is waited for."""
        if stopped := self._assembly.stopped:
            return f"stopped, most organisations fail together: {', '.join(stopped)}"
        if self._app is None:
            return "reading the registry"
        return self.gates.why_closed

    @property
    def app(self) -> faust.App:
        """The Faust app, once `run` has made it."""
        if self._app is None:
            raise RuntimeError("the worker does not run yet")
        return self._app

    # -- running

    def run(self) -> int:
        """Run until stopped by a signal (0) or by a failure (1); blocks."""
        # a turn holds many small objects for a moment: collecting at every 700th costs a third of the time
        collect_seldom(200_000)
        ids = self._topic_ids()
        self.registry_reader.start()
        self._catch_up()
        store = self._assembly.store("epochs")
        epochs = {
            topic: store.read(lambda client, t=topic: restore.epoch_for(client, t, ids[t]), Always())  # type: ignore[misc]
            for topic in self._topics.values()
        }
        store.close()
        payments, reads = self._topics[PAYMENTS], self._topics[READS]
        self._lines = {
            payments: self._assembly.payments(epochs[payments]),
            reads: self._assembly.reads(epochs[reads]),
        }
        with TemporaryDirectory(prefix="sunledger-worker-") as folder:
            self._app = self._make_app(Path(folder))
            ended_well = self._work_until_stopped(self._app)
        return 0 if ended_well and self._failure is None else 1

    def _work_until_stopped(self, app: faust.App) -> bool:
        """False when Faust itself crashed: the transport's errors come up there, not in `fatal`."""
        self._runner = faust.Worker(
            app, quiet=True, loglevel="WARNING", redirect_stdouts=False, override_logging=False
        )
        self._runner.spinner = None  # it would write into the log whatever the level
        try:
            self._runner.execute_from_commandline()
        except SystemExit as exc:
            log.info("worker_ended", code=exc.code)
            return not exc.code
        except Exception as exc:  # noqa: BLE001 - told by kind and place, and by the exit code
            self._note_failure(exc)
            return False
        finally:
            self._close()
        return True

    def _topic_ids(self) -> Mapping[str, str]:
        """Ids of the topics; waits for the broker, and for `sunledger migrate` to have made them."""
        while True:
            try:
                return self.topic_ids.read()
            except TopicsMissing as exc:
                log.warning("waiting_for_topics", error=str(exc))
                time.sleep(1.0)

    def _make_app(self, folder: Path) -> faust.App:
        config = self.config
        asking = clickhouse.factory(
            config.clickhouse_url, database=config.database, connect_timeout_s=ANSWER_S, timeout_s=ANSWER_S
        )
        self.gates = Gates(
            {topic: self._restore_of(topic) for topic in self._lines},
            FormerOwner(asking, config.insert_limit_s).gone,
            self.fatal,
        )
        app = make_app(config, self.gates, frozenset(self._registry_topics), folder, self.topic_ids.id_of)
        handing = Handing(self._lines, self.gates, self._lease_of)
        handlers: dict[tuple[str, ...], Handle] = {(topic,): handing.of(topic) for topic in self._lines}
        handlers[self._registry_topics] = self._write_dimensions
        add_agents(app, handlers, self.fatal)
        self._dimensions = Dimensions(self._assembly.store("registry"), config.topic_prefix)
        self.watchdog = Watchdog(
            app,
            self.topic_ids,
            lambda: self._assembly.waiting,
            config.stall_limit_s,
            config.topic_check_s,
        )
        for forever in (
            *(line.pipeline.run for line in self._lines.values()),
            self._requeue.run,
            self.watchdog.run,
        ):
            app.task(self._guarded(forever))
        return app

    def _restore_of(self, topic: str) -> Any:
        async def run(generation: int, partitions: Any) -> None:
            consumer = consumer_of(self.app)
            await self.watchdog.check_topics()  # deleting a topic makes its group join anew
            await self._lines[topic].pipeline.restore(lambda: consumer.generation == generation, partitions)

        return run

    async def _write_dimensions(self, batch: Batch) -> None:
        if not batch.take():
            return
        lease = self._lease_of([batch])
        try:
            await asyncio.to_thread(self._dimensions.write, batch, lease)
        except Abandoned:
            batch.drop()
        else:
            batch.done()

    def _guarded(self, forever: Any) -> Any:
        async def run() -> None:
            try:
                await forever()
            except Exception as exc:  # noqa: BLE001 - anything unexpected ends the process
                self.fatal(exc)

        run.__name__ = getattr(forever, "__qualname__", "task").replace(".", "_")
        return run

    def fatal(self, exc: BaseException) -> None:
        """End the process with a non-zero exit: it starts again from the committed offset.

        Only the kind and the place are logged: a message may quote a row.
        """
        if self._failure is None:
            self._note_failure(exc)
            # stopping the app alone would leave Faust's runner waiting for ever, and the process with it
            self._stopping = asyncio.ensure_future((self._runner or self.app).stop())

    def _note_failure(self, exc: BaseException) -> None:
        self._failure = exc
        place = exc.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename.rsplit('/', 2)[-1]}:{place.tb_lineno}" if place else "?"
        log.critical("worker_failed", error=type(exc).__name__, where=where)

    def _close(self) -> None:
        self._ending.set()
        self._assembly.abandon()
        for line in self._lines.values():
            line.pipeline.close()
        self.registry_reader.stop()
        self._publisher.close()
