"""One pass over one topic: what is new, a part of the full pass, and what was suspected before.

The order of reading is the reverse of the order of writing, so that whatever the first thing read implies
has been stored when the second is read: commits, then ranges, then ledger rows and facts. The ends of the
logs are read last: what is on its way to another partition is in its log by then.
"""

from collections.abc import Mapping
from typing import Final

from clickhouse_connect.driver.client import Client

from sinks import epochs, verify
from streams.verify import edges, metrics
from streams.verify.broker import Broker, TopicState
from streams.verify.examine import Examiner
from streams.verify.findings import Finding, Kind, Partition
from streams.verify.notebook import Notebook
from streams.verify.sweep import Job, Sweep

JOBS: Final = 16
"""Slices of the full pass that one pass compares."""


class TopicPass:
    """Where the comparison of one topic stands.

    Args:
        topic: full name.
        versions: table of the topic's versions.
        window: most offsets of a slice.
    """

    def __init__(
        self,
        topic: str,
        versions: str,
        broker: Broker,
        examiner: Examiner,
        notebook: Notebook,
        window: int,
    ) -> None:
        self._topic = topic
        self._versions = versions
        self._broker = broker
        self._examiner = examiner
        self._notebook = notebook
        self._window = window
        self._tails: dict[Partition, int] = {}
        self._sweep: Sweep | None = None
        self._begun = False

    @property
    def swept(self) -> bool:
        """Whether no full pass is under way."""
        return self._begun and self._sweep is None

    def start_sweep(self) -> None:
        """Compare all offsets anew, from the next pass on."""
        self._begun = False

    def run(self, client: Client) -> None:
        """One pass. Blocks; a pass that ends early is made again from where the last one ended.

        Raises:
            BrokerAway: Kafka does not answer.
            Exception: what the driver raises.
        """
        state = self._broker.read(self._topic)
        ids = epochs.topic_ids(client, self._topic)
        epoch = ids.index(state.topic_id) if state.topic_id in ids else len(ids)
        covered = self._covered(client, epoch, state)
        self._look_again(client, epoch, state, covered)
        new, old = self._new_jobs(epoch, covered), self._sweep.peek(JOBS) if self._sweep else []
        found = edges.commits_ahead(self._topic, epoch, state, covered)
        for job in new:
            found += self._look(client, job, epoch, state, thorough=False)
        for job in old:
            found += self._look(client, job, epoch, state, thorough=True)
        reached = self._reached(client, epoch, covered, len(old))
        ends = self._broker.ends(self._topic, state.partitions)
        for at, reach in reached.items():
            found += edges.beyond_log(self._topic, at, reach, ends if at == epoch else {})
        self._notebook.note(found, epoch, ends)
        self._advance(client, epoch, new, len(old))

    def _covered(self, client: Client, epoch: int, state: TopicState) -> dict[int, int]:
        """Next offset of each partition's ranges; partitions without any are left out."""
        found: dict[int, int] = {}
        for number in state.partitions:
            tail = self._tails.get(Partition(self._topic, epoch, number), 0)
            reached = verify.reached(client, self._topic, epoch, number, tail)
            if reached is None and tail:  # nothing near the end any more: look farther back
                reached = verify.reached(client, self._topic, epoch, number, 0)
            if reached is not None:
                found[number] = reached
        return found

    def _look_again(self, client: Client, epoch: int, state: TopicState, covered: Mapping[int, int]) -> None:
        for entry in self._notebook.due(self._topic):
            finding = entry.finding
            if finding.kind is Kind.COMMIT_AHEAD:
                ahead = edges.commits_ahead(self._topic, epoch, state, covered)
                left = next((f for f in ahead if f.partition == finding.partition), None)
            elif finding.kind is Kind.BEYOND_LOG:
                left = self._still_beyond(client, finding, epoch, state)
            else:
                left = self._examiner.again(client, finding)
            self._notebook.looked(entry, left, covered, state.starts)

    def _still_beyond(
        self, client: Client, finding: Finding, epoch: int, state: TopicState
    ) -> Finding | None:
        there = edges.still_there(client, finding, self._versions)
        part = finding.partition
        if part.epoch < epoch:
            return None  # the topic was made anew meanwhile
        present = part.epoch == epoch and part.number in state.partitions
        ends = self._broker.ends(self._topic, [part.number]) if present else {}
        return next(iter(edges.beyond_log(self._topic, part.epoch, {part.number: there}, ends)), None)

    def _new_jobs(self, epoch: int, covered: Mapping[int, int]) -> list[Job]:
        """What was finished since the last pass; at the first one everything is left to the full pass."""
        jobs = []
        for number, end in covered.items():
            partition = Partition(self._topic, epoch, number)
            first = self._tails.setdefault(partition, 0 if self._begun else end)
            if first < end:
                jobs.append(Job(partition, first, min(end, first + self._window), head=first == 0))
        return jobs

    def _look(
        self, client: Client, job: Job, epoch: int, state: TopicState, *, thorough: bool
    ) -> list[Finding]:
        if not job.head:
            return self._examiner.look(client, job.partition, job.first, job.end, thorough=thorough)
        # a partition's first range begins where its log began then, hardly ever at 0
        first = verify.first_range(client, self._topic, job.partition.epoch, job.partition.number)
        first = job.first if first is None else first
        found = self._examiner.look(client, job.partition, first, job.end, thorough=thorough)
        before = self._examiner.head(client, job.partition, first, self._start(job, epoch, first, state))
        return found if before is None else [*found, before]

    def _start(self, job: Job, epoch: int, first: int, state: TopicState) -> int | None:
        """Start of the partition's log, None when that log is gone.

        Asked once more when it lies before the first range: a log read after its range was stored begins
        nowhere before it, unless records were passed over.
        """
        number = job.partition.number
        start = state.starts.get(number) if job.partition.epoch == epoch else None
        if start is None or start >= first:
            return start
        return self._broker.starts(self._topic, [number])[number]

    def _reached(
        self, client: Client, epoch: int, covered: Mapping[int, int], old: int
    ) -> dict[int, dict[int, int]]:
        """Epoch → partition → next offset of ranges; at the end of a full pass of all rows too."""
        found = {epoch: dict(covered)}
        if self._sweep and self._sweep.left == old:
            for (at, number), end in edges.rows_reach(client, self._topic, self._versions).items():
                if at >= epoch:  # logs of former epochs are gone
                    reach = found.setdefault(at, {})
                    reach[number] = max(reach.get(number, 0), end)
        return found

    def _advance(self, client: Client, epoch: int, new: list[Job], old: int) -> None:
        """What was found is written down: go on behind it."""
        for job in new:
            self._tails[job.partition] = job.end
        for partition, end in self._tails.items():
            if partition.epoch == epoch:
                metrics.VERIFIED.labels(self._topic, partition.number).set(end)
        if self._sweep is not None:
            self._sweep.drop(old)
            self._sweep = self._sweep if self._sweep.left else None
        if not self._begun:
            self._sweep = Sweep(self._topic, verify.reaches(client, self._topic), self._tails, self._window)
            self._begun = True
