"""Versions of one identity: is this content known, another spelling of a known one, or a conflict?

The worker decides so about what it stores, the dry run about what it only looks at.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from schemas.conflicts import LatestDecision, apply_conflict_rule
from schemas.content import differences
from schemas.identity import netstrings
from schemas.outcomes import Outcome


class Sight(Enum):
    """What a row is to its identity, and the outcome that goes with it."""

    FIRST = ("first", Outcome.ACCEPTED)
    KNOWN = ("known", Outcome.DUPLICATE)
    SPELLING = ("spelling", Outcome.DUPLICATE)
    FURTHER = ("further", Outcome.CONFLICT)

    @property
    def outcome(self) -> Outcome:
        """Outcome of such a row."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Version:
    """One stored, or just judged, content of an identity, in the order of their storage.

    `fields` holds the columns of `payment_versions`; None when nobody had to look.
    """

    content: int
    position: int
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """A decision made by the dataset's conflict rule; written to `decisions` and never edited."""

    decision: str
    selected: Sequence[int]
    known: Sequence[int]
    rule: str

    def row(self, organization_id: str, identity: int, at: int, decided_ms: int) -> dict[str, Any]:
        """The row of `decisions`. Its id follows from the row judged, so a replay writes it again."""
        return {
            "decision_id": "rule:" + netstrings(str(identity), str(at)),
            "organization_id": organization_id,
            "record_type": "payment",
            "identity": identity,
            "decision": self.decision,
            "selected": list(self.selected),
            "known": list(self.known),
            "decided_by": "rule",
            "rule": self.rule,
            "decided_at": decided_ms,
        }


class Identity:
    """The versions of one identity while a turn judges it.

    Attributes:
        versions: known versions, first one first.
        aliases: contents that are other spellings of a version, without a difference.
        decision: latest decision, None without one.
    """

    __slots__ = ("aliases", "decision", "versions")

    def __init__(self, versions: list[Version], aliases: set[int], decision: LatestDecision | None) -> None:
        self.versions = versions
        self.aliases = aliases
        self.decision = decision

    def knows(self, content: int) -> bool:
        """Whether this very content was judged before."""
        return content in self.aliases or any(version.content == content for version in self.versions)

    def spelling_of(self, fields: Mapping[str, Any]) -> int | None:
        """Content of the version from which nothing differs that both sides supplied; None if there is none.

        Of several one that counts, else the first.
        Not when only STATUS differs from a version that counts: a version without one, which counts no more,
        would otherwise hide every STATUS that comes later.
        """
        differing = {version.content: differences(_fields(version), fields) for version in self.versions}
        same = [content for content, names in differing.items() if not names]
        counting = set(self.in_force)
        if counted := [content for content in same if content in counting]:
            return counted[0]
        hidden = any(differing.get(content) == ["STATUS"] for content in counting)
        return None if hidden or not same else same[0]

    def sight(self, content: int, fields: Callable[[], Mapping[str, Any]]) -> Sight:
        """What a row of this content is to the identity; `fields` gives its columns, where they matter."""
        if self.knows(content):
            return Sight.KNOWN
        if not self.versions:
            return Sight.FIRST
        return Sight.FURTHER if self.spelling_of(fields()) is None else Sight.SPELLING

    def learn(self, sight: Sight, version: Version) -> None:
        """Know a row's content from now on."""
        if sight is Sight.SPELLING:
            self.aliases.add(version.content)
        elif sight is not Sight.KNOWN:
            self.versions.append(version)

    @property
    def in_force(self) -> list[int]:
        """Contents that count now, as the views say: the first version's, until a decision selects others."""
        known = {version.content for version in self.versions}
        if self.decision and known & set(self.decision.selected):
            return list(self.decision.selected)
        return [self.versions[0].content]

    @property
    def open(self) -> bool:
        """Whether somebody still has to decide: a version is not known to the latest decision."""
        if len(self.versions) == 1:
            return False
        known = set(self.decision.known) if self.decision else set()
        return any(version.content not in known for version in self.versions)

    def decide(self, ruling: Ruling, now_ms: int) -> int:
        """Put a ruling in force; returns its time: later than the latest decision's by 1 ms or more."""
        decided_ms = max(now_ms, self.decision.decided_ms + 1 if self.decision else 0)
        self.decision = LatestDecision(list(ruling.selected), list(ruling.known), decided_ms)
        return decided_ms

    def rule(self, rule: Mapping[str, Any], content: int, fields: Mapping[str, Any]) -> Ruling | None:
        """What the conflict rule says to a further version; None when it asks.

        An open case stays open: a rule must not close what nobody has looked at.
        """
        if self.open:
            return None
        known = [version.content for version in self.versions] + [content]
        in_force = [version for version in self.versions if version.content in set(self.in_force)]
        kind = str(fields.get("transaction_type", ""))
        for version in reversed(in_force):
            differing = differences(_fields(version), fields)
            decision = apply_conflict_rule(rule, differing, kind)
            if decision == "count_both":
                return Ruling(decision, [*self.in_force, content], known, "count_both_if_type")
            if decision == "take_new":
                kept = [other for other in self.in_force if other != version.content]
                return Ruling(decision, [*kept, content], known, "take_new_if_only")
        return None


def stored_identity(
    stored: Iterable[Mapping[str, Any]], judged: Iterable[int], decision: LatestDecision | None
) -> Identity:
    """An identity as the store holds it.

    Args:
        stored: rows of `payment_versions`, the accepted one first, then in the order of their storage.
        judged: every content that the key table has; those that are no version are other spellings.
        decision: the latest one.
    """
    versions = [Version(fields["content_hash"], fields["position"], fields) for fields in stored]
    spellings = set(judged) - {version.content for version in versions}
    return Identity(versions, spellings, decision)


def _fields(version: Version) -> Mapping[str, Any]:
    """The columns of a version that somebody has to look at."""
    if version.fields is None:
        raise LookupError(f"the fields of content {version.content:x} were not loaded")
    return version.fields
