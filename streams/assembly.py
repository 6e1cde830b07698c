"""The parts of each data topic put together: prepare, decide, settle, restore, suspects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from schemas.origins import OriginSigner
from schemas.personal import Pseudonymizer, PseudonymProfile, Sealer
from schemas.topics import PAYMENTS, READS, TopicSpec
from sinks.client import ClientFactory
from sinks.writer import Writer
from streams import payments_work, reads_decide
from streams.brakes import Brake
from streams.config import WorkerConfig
from streams.history import History
from streams.index import PaymentIndex, ReadIndex
from streams.outlet import Outlet
from streams.payments_decide import DecidePayments
from streams.payments_prepare import PreparePayments
from streams.pipeline import Pipeline
from streams.quarantine import Quarantine
from streams.reads_decide import DecideReads
from streams.reads_prepare import PrepareReads
from streams.resolve import Resolver
from streams.restorers import LoadIndex, Restorer, load_payments, load_reads
from streams.rows import RowReader
from streams.settle import Decide, Settle
from streams.store import Lease, Store
from streams.suspects import Suspects
from streams.turn import Prepared


@dataclass(frozen=True, slots=True)
class TopicLine:
    """What works on one topic."""

    pipeline: Pipeline
    suspects: Suspects


class Assembly:
    """Builds the lines of a worker.

    Args:
        partitions: number of partitions of a topic.
        lease: makes the lease of a turn.
    """

    def __init__(
        self,
        config: WorkerConfig,
        clients: ClientFactory,
        resolver: Resolver,
        outlet: Outlet,
        signer: OriginSigner,
        sealer: Sealer,
        partitions: Callable[[str], int],
        lease: Callable[[Sequence[Prepared]], Lease],
    ) -> None:
        self._config = config
        self._clients = clients
        self._resolver = resolver
        self._outlet = outlet
        self._signer = signer
        self._sealer = sealer
        self._partitions = partitions
        self._lease = lease
        self._stores: list[Store] = []
        self._brakes: list[Brake] = []

    def store(self, name: str) -> Store:
        """A store for one thread; `name` is for metrics and logs."""
        writer = Writer(self._clients, self._config.database, self._config.insert_limit_s)
        self._stores.append(Store(self._clients, writer, name))
        return self._stores[-1]

    @property
    def waiting(self) -> bool:
        """Whether some store is being waited for, or a topic held back."""
        return any(store.waiting for store in self._stores) or bool(self.stopped)

    @property
    def stopped(self) -> list[str]:
        """Topics that are held back because most organisations fail."""
        return [brake.topic for brake in self._brakes if brake.stopped]

    def abandon(self) -> None:
        """The process ends: nothing is waited for any more."""
        for store in self._stores:
            store.abandon()
        for brake in self._brakes:
            brake.end()

    def payments(self, epoch: int) -> TopicLine:
        """The line of the payments topic."""
        topic, index = self._name(PAYMENTS), PaymentIndex()
        store, suspects = self.store(topic), self._suspects(topic, epoch)
        history = History(store, topic, epoch)
        quarantine = Quarantine(self._sealer, topic, "payment")
        profile = cast(PseudonymProfile, self._config.pseudonym_profile)
        return self._line(
            topic,
            "payment",
            epoch,
            PreparePayments(
                RowReader(epoch, self._signer, suspects.condemned),
                self._resolver,
                Pseudonymizer(self._config.pseudonym_secret, profile),
            ),
            DecidePayments(store, index, history, self._resolver.registry, quarantine, topic),
            partial(payments_work.remember, index),
            load_payments(index),
            (store, history, suspects),
        )

    def reads(self, epoch: int) -> TopicLine:
        """The line of the reads topic."""
        topic, index = self._name(READS), ReadIndex()
        store, suspects = self.store(topic), self._suspects(topic, epoch)
        history = History(store, topic, epoch)
        return self._line(
            topic,
            "read",
            epoch,
            PrepareReads(RowReader(epoch, self._signer, suspects.condemned), self._resolver),
            DecideReads(store, index, history, Quarantine(self._sealer, topic, "read"), topic),
            partial(reads_decide.remember, index),
            load_reads(index),
            (store, history, suspects),
        )

    def _name(self, spec: TopicSpec) -> str:
        return spec.full_name(self._config.topic_prefix)

    def _brake(self, topic: str) -> Brake:
        name = topic.removeprefix(self._config.topic_prefix)
        self._brakes.append(Brake(name, self._config.brake, self._resolver.registry))
        return self._brakes[-1]

    def _suspects(self, topic: str, epoch: int) -> Suspects:
        return Suspects(self.store(f"{topic}:attempts"), topic, epoch, self._config.name)

    def _line(
        self,
        topic: str,
        record_type: str,
        epoch: int,
        prepare: Any,
        decide: Decide[Any, Any],
        remember: Callable[[Any], None],
        load: LoadIndex,
        memory: tuple[Store, History, Suspects],
    ) -> TopicLine:
        store, history, suspects = memory
        partitions, brake = partial(self._partitions, topic), self._brake(topic)
        settle: Settle[Any] = Settle(
            topic,
            record_type,
            epoch,
            self._config.name,
            decide,
            remember,
            store,
            self._outlet,
            brake,
            partitions,
            self._lease,
            suspects,
        )
        restorer = Restorer(store, history, load, topic, epoch, partitions, suspects)
        most = self._config.max_rows_in_hand
        return TopicLine(Pipeline(topic, prepare, settle, restorer, most, lambda: brake.stopped), suspects)
