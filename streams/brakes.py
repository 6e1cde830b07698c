"""Brakes: rows that fail one after the other must not all drain into quarantine.

Two things can be wrong, and they are told apart by who fails. One dataset fails: its sender changed a
format; its producer is told to stop (`alerts`), and nobody else notices. Most organisations fail
together: a bad release of ours; the topic stops before anything of that turn is written, so that a
mended release finds the rows unjudged.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

import structlog

from schemas.alerts import DatasetFailing
from schemas.outcomes import Outcome
from streams import metrics
from streams.config import BrakeLimits
from streams.registry import Registry
from streams.store import Abandoned, Lease
from streams.turn import Verdict

log = structlog.get_logger(__name__)

WINDOW_ROWS: Final = 2000
"""Latest rows of a dataset, or of an organisation, that are looked at."""
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
LOOK_S: Final = 0.5
REASONS_TOLD: Final = 3
K = TypeVar("K")


class Source(NamedTuple):
    """Whose rows: a dataset's in one version, or an organisation's own (`""` and 0)."""

    organization_id: str
    dataset_id: str
    version: int


@dataclass(slots=True)
class Window:
    """The latest rows of somebody, turn by turn: (moment, rows, bad)."""

    turns: deque[tuple[float, int, int]] = field(default_factory=deque)
    rows: int = 0
    bad: int = 0
    run: int = 0
    """Refused rows at the end, one after the other."""
    told: bool = False

    def add(self, moment: float, rows: int, bad: int) -> None:
        """Take in a turn; what is no longer among the latest `WINDOW_ROWS` rows falls out."""
        self.turns.append((moment, rows, bad))
        self.rows += rows
        self.bad += bad
        while self.rows - self.turns[0][1] >= WINDOW_ROWS:
            _, old_rows, old_bad = self.turns.popleft()
            self.rows -= old_rows
            self.bad -= old_bad

    @property
    def share(self) -> float:
        """Refused rows among the latest."""
        return self.bad / self.rows if self.rows else 0.0


class Brake:
    """Watches the verdicts of one topic. Used by the thread that decides; `stopped` from any thread.

    Args:
        topic: name without the prefix, for alerts; metrics have the same.
        registry: knows organisations and the versions of datasets.
    """

    def __init__(self, topic: str, limits: BrakeLimits, registry: Registry) -> None:
        self.topic = topic
        self._limits = limits
        self._registry = registry
        self._sources: dict[Source, Window] = {}
        self._organizations: dict[str, Window] = {}
        self._ending = threading.Event()
        self.stopped = False

    def look(
        self, verdicts: Sequence[Verdict], lease: Lease, stopping: Callable[[], None] = lambda: None
    ) -> list[DatasetFailing]:
        """Take in a turn that is decided and not written; returns what should be told once it is.

        `stopping` is called before the topic stops. Blocks for as long as it is stopped: until the process
        ends or the partitions go elsewhere.

        Raises:
            Abandoned: the partitions were given up, or the process ends.
        """
        now = time.monotonic()
        fresh = [verdict for verdict in verdicts if verdict.row.replay_of is None]
        bad = [verdict for verdict in fresh if verdict.outcome is Outcome.QUARANTINED]
        rows, refused = Counter(map(_source_of, fresh)), Counter(map(_source_of, bad))
        self._note_organizations(_by_organization(rows), _by_organization(refused), now)
        if bad and self._limits.stop_topic:
            self._stop_while_most_fail(lease, stopping)
        return self._note_sources(rows, refused, fresh, now)

    def end(self) -> None:
        """The process ends: nothing is held back any more. From any thread."""
        self._ending.set()

    def _note_organizations(self, rows: Counter[str], refused: Counter[str], now: float) -> None:
        for organization_id, count in rows.items():
            if not self._registry.has_organization(organization_id):
                continue  # whoever invents names must not stop the others
            window = self._organizations.setdefault(organization_id, Window())
            window.add(now, count, refused[organization_id])
        _forget(self._organizations, now)

    def _stop_while_most_fail(self, lease: Lease, stopping: Callable[[], None]) -> None:
        # who sent a few good rows is a sender too: after a restart those are all that is known of him
        active = list(self._organizations.values())
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
            self._organizations.clear()
            self.stopped = False
            metrics.TOPIC_STOPPED.labels(self.topic).set(0)

    def _note_sources(
        self,
        rows: Counter[Source],
        refused: Counter[Source],
        fresh: Sequence[Verdict],
        now: float,
    ) -> list[DatasetFailing]:
        failing = []
        of_refused = _by_source(fresh, refused)
        for source, count in rows.items():
            if not self._concerns(source):
                continue
            window = self._sources.setdefault(source, Window())
            window.add(now, count, refused[source])
            mine = of_refused.get(source, [])
            longest, window.run = _runs(mine, window.run) if mine else (0, 0)
            if not self._fails(window, longest):
                window.told = False
            elif not window.told:
                window.told = True
                failing.append(self._alert(source, window, longest, mine))
        _forget(self._sources, now)
        return failing

    def _concerns(self, source: Source) -> bool:
        """Whether rows speak about a dataset as it is now, or about an organisation there is.

        A worker may judge some rows under the version that was resumed or mended meanwhile.
        """
        if not source.dataset_id:
            return self._registry.has_organization(source.organization_id)
        dataset = self._registry.dataset(source.organization_id, source.dataset_id)
        return dataset is not None and dataset.version == source.version

    def _fails(self, window: Window, longest: int) -> bool:
        too_many = window.rows >= MIN_ROWS and window.share > self._limits.share
        return too_many or longest >= self._limits.run

    def _alert(
        self, source: Source, window: Window, longest: int, verdicts: Sequence[Verdict]
    ) -> DatasetFailing:
        reasons = Counter(text for verdict in verdicts for text in verdict.reasons)
        metrics.DATASETS_FAILING.labels(self.topic).inc()
        log.error(
            "dataset_failing", topic=self.topic, dataset_id=source.dataset_id,
            organization_id=source.organization_id, rows=window.rows, bad=window.bad, run=longest,
        )  # fmt: skip
        return DatasetFailing(
            organization_id=source.organization_id,
            dataset_id=source.dataset_id,
            dataset_version=source.version,
            topic=self.topic,
            rows=window.rows,
            bad=window.bad,
            run=longest,
            reasons=[text for text, _ in reasons.most_common(REASONS_TOLD)],
            at=datetime.now(UTC),
        )


def _source_of(verdict: Verdict) -> Source:
    """Rows of a dataset there is not are the organisation's own: whoever invents names fills nothing."""
    row = verdict.row
    return Source(row.organization_id, row.dataset_id if row.dataset_version else "", row.dataset_version)


def _forget(windows: dict[K, Window], now: float) -> None:
    """Drop whoever sent nothing for a while."""
    for name in [name for name, window in windows.items() if window.turns[-1][0] < now - FORGET_S]:
        del windows[name]


def _by_organization(counts: Counter[Source]) -> Counter[str]:
    found: Counter[str] = Counter()
    for source, count in counts.items():
        found[source.organization_id] += count
    return found


def _by_source(verdicts: Sequence[Verdict], wanted: Counter[Source]) -> dict[Source, list[Verdict]]:
    """All verdicts of the wanted sources, in order; usually none is wanted, and nothing is looked at."""
    found: dict[Source, list[Verdict]] = {}
    if wanted:
        for verdict in verdicts:
            if (source := _source_of(verdict)) in wanted:
                found.setdefault(source, []).append(verdict)
    return found


def _runs(verdicts: Sequence[Verdict], before: int) -> tuple[int, int]:
    """The longest run of refused rows, and the one at the end; the first may go on from `before`."""
    longest = run = before
    for verdict in verdicts:
        run = run + 1 if verdict.outcome is Outcome.QUARANTINED else 0
        longest = max(longest, run)
    return longest, run
