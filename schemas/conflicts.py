"""A dataset's conflict rule: what decides by itself when an id comes with other content; and decisions."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

RuleDecision = Literal["take_new", "count_both"]

DEFAULT_RULE: Final[Mapping[str, list[str]]] = {
    "take_new_if_only": ["STATUS", "NOTES"],
    "count_both_if_type": ["REVERSAL"],
}
"""Decides by itself: a change only in STATUS or NOTES takes the new version, a reversal counts both."""


class LatestDecision(NamedTuple):
    """What the latest decision about a payment says.

    Attributes:
        selected: contents that count; none of the known ones: the first version counts.
        known: contents that it knew; a further one opens the case again. Empty after an undo with
            nothing decided before.
        decided_ms: when it was decided, milliseconds since 1970; a later decision is later than this.
    """

    selected: list[int]
    known: list[int]
    decided_ms: int


def apply_conflict_rule(
    rule: Mapping[str, Any], differing: Sequence[str], new_type: str
) -> RuleDecision | None:
    """What a dataset's rule decides on a further version; None leaves it to people.

    Args:
        rule: `{"take_new_if_only": [fields], "count_both_if_type": [transaction types]}`; an absent or
            empty list never applies.
        differing: what `schemas.content.differences` found, not empty.
        new_type: transaction type of the new version, empty if it has none.
    """
    if new_type and new_type in rule.get("count_both_if_type", ()):
        return "count_both"
    harmless = rule.get("take_new_if_only", ())
    if differing and all(name in harmless for name in differing):
        return "take_new"
    return None
