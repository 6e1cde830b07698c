"""Settling a turn: decide, send on, write in order, remember. The steps and what failing there means.

1. decide      reads the index and, where contents differ, the store; a failure changes nothing.
               The brake looks at the verdicts: it may hold the turn back before anything is written.
2. facts       versions, keys, decisions, quarantine. Dying here: the rows are found without a ledger
               row and keep the outcome they were stored with.
3. send on     rows of other homes, until the broker has them. Dying here: they are sent again, and
               the second copy is recognised by its origin.
4. announce    refused rows to the quarantine topic, until the broker has them.
5. ledger      the outcomes. Dying here: a redelivery finds them and is skipped.
6. ranges      the finished batches. Dying here: as above. Then the brake counts the rows, and alerts are
               sent; one that is lost by a death is raised again by the next bad rows.
7. remember    the index, never before the insert. Only then is a batch done and committed.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import structlog

from schemas.outcomes import Code, Outcome, reason
from sinks.errors import Refused
from streams import metrics
from streams.brakes import Brake
from streams.outlet import Outlet
from streams.store import Lease, Store
from streams.suspects import Suspects
from streams.turn import Decided, Fact, Prepared, ledger_batch, ranges_batch

log = structlog.get_logger(__name__)

P_contra = TypeVar("P_contra", contravariant=True)
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Decide(Protocol[P_contra, M_co]):
    """A topic's decisions: what to write, and what to remember after it is written."""

    def __call__(
        self, turn: Sequence[P_contra], partitions: int, refused: Mapping[int, str], lease: Lease
    ) -> tuple[Decided, M_co]:
        """Decide a turn."""


class Settle(Generic[M]):
    """Settles the turns of one topic, in the thread that decides.

    Args:
        decide: the topic's decisions.
        remember: adds to the index what the decisions handed out.
        partitions: number of partitions that the topic has now.
        lease: makes the lease of a turn's batches.
        suspects: is told of batches that the brake holds back.
    """

    def __init__(
        self,
        topic: str,
        record_type: str,
        epoch: int,
        worker: str,
        decide: Decide[Any, M],
        remember: Callable[[M], None],
        store: Store,
        outlet: Outlet,
        brake: Brake,
        partitions: Callable[[], int],
        lease: Callable[[Sequence[Prepared]], Lease],
        suspects: Suspects,
    ) -> None:
        self._suspects = suspects
        self._topic = topic
        self._record_type = record_type
        self._epoch = epoch
        self._worker = worker
        self._decide = decide
        self._remember = remember
        self._store = store
        self._outlet = outlet
        self._brake = brake
        self._partitions = partitions
        self._lease = lease

    def __call__(self, turn: Sequence[Prepared]) -> None:
        """Settle one turn.

        Raises:
            Abandoned: the partitions were given up meanwhile; what is written may be written again.
        """
        lease = self._lease(turn)
        partitions = self._partitions()
        refused: dict[int, str] = {}
        while True:
            with self._timed("decide"):
                decided, memory = self._decide(turn, partitions, refused, lease)
            # each time: a release whose rows the store refuses is a bad one, too
            look = self._brake.look(decided.verdicts, lease, lambda: self._held(turn, lease))
            with self._timed("facts"):
                found = self._facts(decided.facts, lease)
            if not found:
                break
            refused.update(found)
        self._outlet.forward(self._topic, decided.forwards, partitions, lease)
        self._outlet.announce(self._topic, decided.verdicts, lease)
        with self._timed("ledger"):
            self._ledger(turn, decided, lease)
        self._brake.settled(look)
        self._outlet.alert(self._brake.untold, lease)
        self._brake.untold.clear()
        self._remember(memory)
        self._count(turn, decided)

    def _held(self, turn: Sequence[Prepared], lease: Lease) -> None:
        self._suspects.harmless([prepared.batch for prepared in turn], lease)

    def _facts(self, facts: Sequence[Fact], lease: Lease) -> dict[int, str]:
        """Write the facts; returns the rows that the store refuses, to be decided again without them."""
        for fact in facts:
            try:
                self._store.insert(fact.table, fact.batch, lease)
            except Refused as exc:
                found = self._find_refused(fact, lease)
                log.error("store_refused", table=fact.table, rows=len(found), error=str(exc))
                metrics.STORE_REFUSED.labels(self._topic).inc(len(found))
                if found and fact.table == "quarantine_rows":
                    raise
                if found:
                    return found  # without any, only the batch was refused: its parts are stored by now
        return {}

    def _find_refused(self, fact: Fact, lease: Lease) -> dict[int, str]:
        """Halve until the refused rows stand alone; the others are stored on the way."""
        try:
            self._store.insert(fact.table, fact.batch, lease)
        except Refused:
            if len(fact) == 1:
                return {fact.positions[0]: reason(Code.STORE_REFUSED)}
            middle = len(fact) // 2
            halves = fact.part(0, middle), fact.part(middle, len(fact))
            return {p: why for half in halves for p, why in self._find_refused(half, lease).items()}
        return {}

    def _ledger(self, turn: Sequence[Prepared], decided: Decided, lease: Lease) -> None:
        if decided.verdicts:
            rows = ledger_batch(decided.verdicts, self._topic, self._record_type)
            self._store.insert("ledger_rows", lambda: rows, lease)
        ranges = ranges_batch(turn, decided, self._epoch, self._worker, self._topic)
        self._store.insert("ledger_ranges", lambda: ranges, lease)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        metrics.TURN_SECONDS.labels(self._topic, step).observe(time.monotonic() - began)

    def _count(self, turn: Sequence[Prepared], decided: Decided) -> None:
        metrics.BATCH_ROWS.labels(self._topic).observe(sum(len(prepared.batch) for prepared in turn))
        metrics.REPLAYED.labels(self._topic).inc(decided.replayed)
        metrics.FORWARDED.labels(self._topic).inc(len(decided.forwards))
        counts: dict[Outcome, int] = {}
        for verdict in decided.verdicts:
            counts[verdict.outcome] = counts.get(verdict.outcome, 0) + 1
            for text in verdict.reasons:
                metrics.REASONS.labels(self._topic, text.split(":")[0]).inc()
        for outcome, count in counts.items():
            metrics.OUTCOMES.labels(self._topic, outcome.value).inc(count)
        if decided.verdicts:
            oldest = min(verdict.row.received_ms for verdict in decided.verdicts)
            metrics.STORED_SECONDS.labels(self._topic).observe(max(0.0, time.time() - oldest / 1000))
