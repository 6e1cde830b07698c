"""Brakes: rows that fail one after the other must not all drain into quarantine.

Two things can be wrong, and they are told apart by who fails. One dataset fails: its sender changed a
format; its producer is told to stop (`alerts`), and nobody else notices. Most organisations fail
together: a bad release of ours; the topic stops before anything of that turn is written, so that a
mended release finds the rows unjudged.

A turn is looked at before it is written, and counted when it is stored: one that is dropped comes again.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

import structlog

from schemas.alerts import DatasetFailing
from schemas.outcomes import Outcome
from streams import metrics
from streams.brake_windows import Flags, Trouble, Window, as_received, flags_of, good
from streams.config import BrakeLimits
from streams.registry import Registry
from streams.store import Abandoned, Lease
from streams.turn import Verdict

log = structlog.get_logger(__name__)

MIN_ROWS: Final = 200
"""Rows below which a share says nothing about a dataset."""
MIN_ORGANIZATION_ROWS: Final = 100
"""Rows below which an organisation does not count as failing."""
MIN_FAILING: Final = 3
"""Failing organisations below which `most of them` says nothing about a release."""
ORGANIZATION_SHARE: Final = 0.8
"""Share of refused rows above which an organisation counts as failing."""
FORGET_S: Final = 600.0
"""An organisation that sent nothing for so long says nothing about the present release."""
FORGET_SOURCE_S: Final = 7 * 86_400.0
"""A dataset is sent to once a day by default: its rows are remembered over a week of files."""
LOOK_S: Final = 0.5
REASONS_TOLD: Final = 3
K = TypeVar("K", bound=Hashable)


class Source(NamedTuple):
    """Whose rows: a dataset's in one version, or an organisation's own (`""` and 0)."""

    organization_id: str
    dataset_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a turn would change once it is stored: the new windows, and what should be told then."""

    sources: Mapping[Source, Window] = field(default_factory=dict)
    organizations: Mapping[str, Window] = field(default_factory=dict)
    alerts: Sequence[DatasetFailing] = ()


class Brake:
    """Watches the verdicts of one topic. Used by the thread that decides; `stopped` from any thread.

    Args:
        topic: name without the prefix, for alerts; metrics have the same.
        registry: knows organisations and the versions of datasets.

    Attributes:
        untold: alerts about stored turns that nobody has sent yet; who sends them takes them out.
    """

    def __init__(self, topic: str, limits: BrakeLimits, registry: Registry) -> None:
        self.topic = topic
        self._limits = limits
        self._registry = registry
        self._sources: dict[Source, Window] = {}
        self._organizations: dict[str, Window] = {}
        self._ending = threading.Event()
        self.untold: list[DatasetFailing] = []
        self.stopped = False

    def look(
        self, verdicts: Sequence[Verdict], lease: Lease, stopping: Callable[[], None] = lambda: None
    ) -> Look:
        """Look at a turn that is decided and not written; give the answer to `settled` once it is.

        `stopping` is called before the topic stops. Blocks for as long as it is stopped: until the process
        ends or the partitions go elsewhere.

        Raises:
            Abandoned: the partitions were given up, or the process ends.
        """
        now = time.monotonic()
        fresh = [verdict for verdict in verdicts if verdict.row.replay_of is None]
        bad = [verdict for verdict in fresh if verdict.outcome is Outcome.QUARANTINED]
        rows, refused = Counter(map(_source_of, fresh)), Counter(map(_source_of, bad))
        ordered = as_received(fresh) if bad else ()
        organizations = self._look_at_organizations(rows, refused, ordered, now)
        if bad and self._limits.stop_topic:
            self._stop_while_most_fail(organizations, lease, stopping)
        return self._look_at_sources(rows, refused, ordered, organizations, now)

    def settled(self, look: Look) -> None:
        """The turn is stored: its rows count from now on, and what it should tell is to be told."""
        now = time.monotonic()
        self._sources = _lately({**self._sources, **look.sources}, now, FORGET_SOURCE_S)
        self._organizations = _lately({**self._organizations, **look.organizations}, now)
        for alert in look.alerts:
            metrics.DATASETS_FAILING.labels(self.topic).inc()
            log.error(
                "dataset_failing", topic=self.topic, dataset_id=alert.dataset_id,
                organization_id=alert.organization_id, rows=alert.rows, bad=alert.bad, run=alert.run,
            )  # fmt: skip
        self.untold += look.alerts

    def end(self) -> None:
        """The process ends: nothing is held back any more. From any thread."""
        self._ending.set()

    def _look_at_organizations(
        self, rows: Counter[Source], refused: Counter[Source], ordered: Sequence[Verdict], now: float
    ) -> dict[str, Window]:
        # whoever invents names must not stop the others
        counts = {
            owner: count
            for owner, count in _by_organization(rows).items()
            if self._registry.has_organization(owner)
        }
        flags = _flags(counts, _by_organization(refused), ordered, lambda v: v.row.organization_id)
        return {
            owner: self._organizations.get(owner, Window()).after(mine, now) for owner, mine in flags.items()
        }

    def _stop_while_most_fail(
        self, looked: Mapping[str, Window], lease: Lease, stopping: Callable[[], None]
    ) -> None:
        # who sent a few good rows is a sender too: after a restart those are all that is known of him
        active = list(_lately({**self._organizations, **looked}, time.monotonic()).values())
        failing = sum(
            window.rows >= MIN_ORGANIZATION_ROWS and window.share >= ORGANIZATION_SHARE for window in active
        )
        if failing < MIN_FAILING or 2 * failing <= len(active):
            return
        stopping()
        self.stopped = True
        metrics.TOPIC_STOPPED.labels(self.topic).set(1)
        log.critical("topic_stopped", topic=self.topic, organizations=len(active), failing=failing)
        try:
            while True:
                lease.renew()
                if self._ending.wait(LOOK_S) or lease.giving_up:
                    raise Abandoned
        finally:
            # the rows went elsewhere unjudged, and are judged there
            self.stopped = False
            metrics.TOPIC_STOPPED.labels(self.topic).set(0)

    def _look_at_sources(
        self,
        rows: Counter[Source],
        refused: Counter[Source],
        ordered: Sequence[Verdict],
        organizations: Mapping[str, Window],
        now: float,
    ) -> Look:
        counts = {source: count for source, count in rows.items() if self._concerns(source)}
        windows, alerts = {}, []
        for source, flags in _flags(counts, refused, ordered, _source_of).items():
            before = self._sources.get(source, Window())
            trouble, fails = before.begins_to_fail(flags, MIN_ROWS, self._limits.share, self._limits.run)
            windows[source] = before.after(flags, now, fails)
            if trouble is not None:
                alerts.append(self._alert(source, trouble, ordered))
        return Look(windows, organizations, alerts)

    def _concerns(self, source: Source) -> bool:
        """Whether rows speak about a dataset as it is now, or about an organisation there is.

        A worker may judge some rows under the version that was resumed or mended meanwhile.
        """
        if not source.dataset_id:
            return self._registry.has_organization(source.organization_id)
        dataset = self._registry.dataset(source.organization_id, source.dataset_id)
        return dataset is not None and dataset.version == source.version

    def _alert(self, source: Source, trouble: Trouble, verdicts: Sequence[Verdict]) -> DatasetFailing:
        mine = (verdict for verdict in verdicts if _source_of(verdict) == source)
        reasons = Counter(text for verdict in mine for text in verdict.reasons)
        return DatasetFailing(
            organization_id=source.organization_id,
            dataset_id=source.dataset_id,
            dataset_version=source.version,
            topic=self.topic,
            **trouble._asdict(),
            reasons=[text for text, _ in reasons.most_common(REASONS_TOLD)],
            at=datetime.now(UTC),
        )


def _source_of(verdict: Verdict) -> Source:
    """Rows of a dataset there is not are the organisation's own: whoever invents names fills nothing."""
    row = verdict.row
    return Source(row.organization_id, row.dataset_id if row.dataset_version else "", row.dataset_version)


def _lately(windows: Mapping[K, Window], now: float, forget_s: float = FORGET_S) -> dict[K, Window]:
    """Without whoever sent nothing for a while, in seconds."""
    return {name: window for name, window in windows.items() if window.moment >= now - forget_s}


def _by_organization(counts: Counter[Source]) -> Counter[str]:
    found: Counter[str] = Counter()
    for source, count in counts.items():
        found[source.organization_id] += count
    return found


def _flags(
    counts: Mapping[K, int],
    refused: Counter[K],
    ordered: Sequence[Verdict],
    name_of: Callable[[Verdict], K],
) -> dict[K, Flags]:
    """Each name's rows in order; usually none of them is refused, and no row is looked at."""
    mine: dict[K, list[Verdict]] = {name: [] for name in counts if refused[name]}
    if mine:
        for verdict in ordered:
            if (found := mine.get(name_of(verdict))) is not None:
                found.append(verdict)
    return {name: flags_of(mine[name]) if name in mine else good(count) for name, count in counts.items()}
