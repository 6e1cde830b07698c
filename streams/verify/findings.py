"""What the verifier compares, and what it can find wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What is wrong with some offsets of a partition."""

    GAP = "gap"
    MISCOUNT = "miscount"
    CONTRADICTION = "contradiction"
    LOST = "lost"
    COMMIT_AHEAD = "commit_ahead"
    BEYOND_LOG = "beyond_log"
    NO_OUTCOME = "no_outcome"
    TWO_OUTCOMES = "two_outcomes"
    STRANGER = "stranger"
    NO_VERSION = "no_version"
    NO_QUARANTINE_ROW = "no_quarantine_row"
    VERSION_WITHOUT_OUTCOME = "version_without_outcome"
    QUARANTINE_WITHOUT_OUTCOME = "quarantine_without_outcome"
    DUPLICATE_OF_NOTHING = "duplicate_of_nothing"
    DUPLICATE_OF_OTHER = "duplicate_of_other"
    REPLAYED_TWICE = "replayed_twice"
    ACCEPTED_TWICE = "accepted_twice"
    OTHER_OUTCOME = "other_outcome"
    NO_KEY = "no_key"


MEANING: Final[Mapping[Kind, str]] = {
    Kind.GAP: "offsets that no range covers lie before offsets that are finished",
    Kind.MISCOUNT: "the numbers of a range do not add up to its offsets",
    Kind.CONTRADICTION: "overlapping ranges disagree about what the log holds at these offsets",
    Kind.LOST: "retention deleted offsets before they were read, and nobody has taken note of it",
    Kind.COMMIT_AHEAD: "the group's committed offset lies beyond the ranges",
    Kind.BEYOND_LOG: "ranges or rows lie beyond the end of the log",
    Kind.NO_OUTCOME: "received rows have no ledger row",
    Kind.TWO_OUTCOMES: "one received row has ledger rows that differ",
    Kind.STRANGER: "a ledger row lies where its range says that no row was received",
    Kind.NO_VERSION: "an accepted or conflict row has no version stored",
    Kind.NO_QUARANTINE_ROW: "a quarantined row has no quarantine row",
    Kind.VERSION_WITHOUT_OUTCOME: "a stored version has no accepted or conflict ledger row of its content",
    Kind.QUARANTINE_WITHOUT_OUTCOME: "a quarantine row has no quarantined ledger row",
    Kind.DUPLICATE_OF_NOTHING: "a duplicate row's payment or read has no version at all",
    Kind.DUPLICATE_OF_OTHER: "a duplicate row's payment or read is stored, and never with this content",
    Kind.REPLAYED_TWICE: "two replays of one refused row were accepted as different payments or reads",
    Kind.ACCEPTED_TWICE: "two contents of one payment or read were accepted, and nobody has decided since",
    Kind.OTHER_OUTCOME: "a version was stored with another outcome than its ledger row tells",
    Kind.NO_KEY: "a judged payment has a version and no key to recognise it by",
}
"""One sentence for each kind, for logs and documents."""


Span = tuple[int, int]
"""Offsets from the first up to, not including, the second."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one life of a topic; `topic` is the full name, prefix included."""

    topic: str
    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]" + (f" epoch {self.epoch}" if self.epoch else "")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in the offsets `first` up to, not including, `next_offset`.

    Attributes:
        count: how many offsets are wrong (of ranges: how many ranges).
        in_flight: forwarded rows that are on their way to their home would look the same; it is a fault
            only when every record that the log had by then has been judged.
    """

    kind: Kind
    partition: Partition
    first: int
    next_offset: int
    count: int
    in_flight: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.partition} {self.first}..{self.next_offset - 1} ({self.count})"
