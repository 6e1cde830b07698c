"""Losses that an operator has taken note of: gone for good, and not to be reported for ever."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from streams.verify.findings import Partition, Span

_FORM: Final = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]+):(?P<epoch>\d+):(?P<number>\d+):(?P<first>\d+)-(?P<last>\d+)"
)


class BadLoss(ValueError):
    """A known loss is not written as `topic:epoch:partition:first-last`."""


def loss_text(partition: Partition, first: int, last: int) -> str:
    """A loss as it is written in the setting; both offsets included."""
    return f"{partition.topic}:{partition.epoch}:{partition.number}:{first}-{last}"


def known_losses(text: str) -> Mapping[Partition, Sequence[Span]]:
    """Read losses parted by commas, each as `loss_text` writes it.

    Raises:
        BadLoss: naming the one that cannot be read.
    """
    found: dict[Partition, list[Span]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        given = _FORM.fullmatch(part)
        if given is None or int(given["first"]) > int(given["last"]):
            raise BadLoss(f"expected topic:epoch:partition:first-last, found {part!r}")
        partition = Partition(given["topic"], int(given["epoch"]), int(given["number"]))
        found.setdefault(partition, []).append((int(given["first"]), int(given["last"]) + 1))
    return found


def count(spans: Iterable[Span]) -> int:
    """Number of offsets in spans that do not overlap."""
    return sum(end - first for first, end in spans)
