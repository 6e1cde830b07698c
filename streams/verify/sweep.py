"""A full pass over a topic, some slices at a time, beside the passes over what is new."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sinks.verify import Reach
from streams.verify.findings import Partition


@dataclass(frozen=True, slots=True)
class Job:
    """Offsets of a partition to be compared; `head`: they begin at the partition's first range."""

    partition: Partition
    first: int
    end: int
    head: bool


class Sweep:
    """The jobs of one full pass. A job is taken by `peek` and is done with `drop`, so that a pass that ends
    early takes it again."""

    def __init__(
        self, topic: str, reaches: Iterable[Reach], tails: Mapping[Partition, int], window: int
    ) -> None:
        self._jobs = deque(job for reach in reaches for job in _jobs(topic, reach, tails, window))

    def peek(self, limit: int) -> list[Job]:
        """The next jobs, at most so many."""
        return [self._jobs[at] for at in range(min(limit, len(self._jobs)))]

    def drop(self, count: int) -> None:
        """So many jobs are done."""
        for _ in range(count):
            self._jobs.popleft()

    @property
    def left(self) -> int:
        """How many jobs are left."""
        return len(self._jobs)


def _jobs(topic: str, reach: Reach, tails: Mapping[Partition, int], window: int) -> Iterable[Job]:
    """Slices of a partition up to where the passes over new offsets began; an earlier epoch's to its end."""
    partition = Partition(topic, reach.epoch, reach.partition)
    end = min(reach.next_offset, tails.get(partition, reach.next_offset))
    yield Job(partition, reach.first, min(end, reach.first + window), head=True)
    for first in range(reach.first + window, end, window):
        yield Job(partition, first, min(end, first + window), head=False)
