"""The match of a payment with a connection: one rule for the worker's hint and for the dry run.

The views compute the match that counts (`sinks/ddl/0011_payments_view.sql`); tests hold the three together.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MatchResult = Literal["matched", "ambiguous", "unmatched"]


@dataclass(frozen=True, slots=True)
class Connection:
    """What a match needs of a connection; validity in UTC milliseconds, None is open."""

    id: str
    project_id: str
    valid_from_ms: int | None
    valid_to_ms: int | None

    def valid_at(self, moment_ms: int) -> bool:
        """Whether the connection is in force at a moment; the end is exclusive."""
        after_start = self.valid_from_ms is None or moment_ms >= self.valid_from_ms
        return after_start and (self.valid_to_ms is None or moment_ms < self.valid_to_ms)


def match(
    names: Sequence[str],
    named: Callable[[str], Iterable[Connection]],
    in_scope: Callable[[Connection], bool],
    moment_ms: int,
) -> tuple[str, MatchResult]:
    """Connection id and result by the first name that finds any connection.

    Args:
        names: METER_ID, then EXTERNAL_ID; empty ones find nothing.
        named: the organisation's connections in use with this external id.
        in_scope: whether the dataset's payments may match the connection.
        moment_ms: TIMESTAMP of the payment.
    """
    for name in names:
        found = [c for c in named(name) if in_scope(c) and c.valid_at(moment_ms)] if name else []
        if found:
            return (found[0].id, "matched") if len(found) == 1 else ("", "ambiguous")
    return "", "unmatched"
