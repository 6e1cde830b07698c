"""What a person's decision about a case means: which versions count, what it knew, when it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from api.errors import DecisionIdTaken, DecisionsChanged, Invalid, NothingToUndo, VersionsChanged

_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A decision as it was asked for.

    Attributes:
        selected: content hashes of the versions meant, None for those that go without saying.
        known: content hashes the person has seen, None when he does not say.
        latest: id of the latest decision the person has seen, empty for none; None when he does not say.
        rule: the filter of a decision in bulk, else empty.
    """

    decision: str
    decision_id: str
    decided_by: str
    selected: Sequence[int] | None = None
    known: Sequence[int] | None = None
    latest: str | None = None
    rule: str = ""


def ruling(
    case: Mapping[str, Any], history: Sequence[Mapping[str, Any]], wanted: Wanted, now: datetime
) -> dict[str, Any] | None:
    """The row of `decisions`, or None when this very decision is stored already.

    Args:
        case: row of the view `conflicts`.
        history: all decisions about it, oldest first.
        now: the store's clock, aware UTC; the decision is dated so, or 1 ms after the latest one if that
            is later.

    Raises:
        VersionsChanged: a version that the person has not seen is there.
        DecisionIdTaken: another decision about this case has the id.
        DecisionsChanged: a decision that the person has not seen is there.
        NothingToUndo: no decision is in force.
        Invalid: the versions selected do not fit the decision, or both versions of a read would count.
    """
    hashes = [int(version["content_hash"]) for version in case["versions"]]
    for made in history:
        if made["decision_id"] == wanted.decision_id:
            if _same(made, wanted):
                return None
            raise DecisionIdTaken
    if wanted.known is not None and set(wanted.known) != set(hashes):
        raise VersionsChanged
    latest = history[-1]["decision_id"] if history else ""
    if wanted.latest is not None and wanted.latest != latest:
        raise DecisionsChanged(latest)
    if wanted.decision == "count_both" and case["record_type"] == "read":
        # two values for one stretch of time: energy that was generated once
        raise Invalid.field("decision", "count_both_of_read", "A read counts once: keep_first or take_new.")
    if wanted.decision == "undo":
        if wanted.selected is not None:
            raise _wrong("An undo selects what counted before; leave `selected` out.")
        selected, known = _undone(history)
    else:
        selected, known = _selected(wanted, hashes), hashes
    return {
        "decision_id": wanted.decision_id,
        "organization_id": case["organization_id"],
        "record_type": case["record_type"],
        "identity": case["identity"],
        "decision": wanted.decision,
        "selected": selected,
        "known": known,
        "decided_by": wanted.decided_by,
        "rule": wanted.rule,
        "decided_at": max([now, *(made["decided_at"] + _MILLISECOND for made in history)]),
    }


def _same(made: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether a stored decision is the one asked for."""
    same_versions = wanted.selected is None or set(wanted.selected) == set(made["selected"])
    return bool(made["decision"] == wanted.decision and same_versions)


def _selected(wanted: Wanted, hashes: list[int]) -> list[int]:
    """The versions that count from now on."""
    given = wanted.selected
    if given is not None and not set(given) <= set(hashes):
        raise _wrong("Expected content hashes of versions of this case.")
    if wanted.decision == "keep_first":
        if given is not None:
            raise _wrong("keep_first selects the first version; leave `selected` out.")
        return hashes[:1]
    if wanted.decision == "take_new":
        if given is not None and len(set(given)) != 1:
            raise _wrong("take_new selects exactly one version.")
        return list(given[:1]) if given else hashes[-1:]
    if given is not None and len(set(given)) < 2:
        raise _wrong("count_both selects at least two versions.")
    return [content for content in hashes if given is None or content in given]


def _undone(history: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
    """What counts, and what is known, when the decision in force is taken back.

    An undo takes back the latest decision that was not taken back yet; a second one the one before.
    """
    standing: list[Mapping[str, Any]] = []
    for made in history:
        if made["decision"] != "undo":
            standing.append(made)
        elif standing:
            standing.pop()
    if not standing:
        raise NothingToUndo
    before = standing[:-1]
    return (list(before[-1]["selected"]), list(before[-1]["known"])) if before else ([], [])


def _wrong(detail: str) -> Invalid:
    return Invalid.field("selected", "wrong_versions", detail)
