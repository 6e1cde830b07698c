"""Explains a page of ledger rows: one question per table and view for all of them together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from api import contents
from api.db import iso_ms
from api.ledger import matches
from api.ledger.checks import checks
from api.ledger.explanations import (
    CaseState,
    Difference,
    Explanation,
    Lineage,
    Match,
    Refusal,
    ReplayMade,
)
from api.ledger.matches import Key, Rows
from api.numbers import decimal_text
from api.store import Store
from schemas.outcomes import Outcome
from sinks import cases, why
from sinks.restore import stored_payments, stored_reads

_READ: Final[dict[str, Callable[..., Rows]]] = {"payment": stored_payments, "read": stored_reads}
_BIG: Final = frozenset({"identity", "content_hash", "position", "replay_of"})


@dataclass(slots=True)
class _Known:
    """What the store knows about the rows of a page.

    Attributes:
        versions: (record type, identity) → versions, the accepted one first, then as they were stored.
        aliases: (identity, content) of another spelling of a payment → content of the version.
        cases: (record type, identity) → row of the view `conflicts`.
        shown: (record type, identity, content) → row of the view `payments` or `reads`.
        matches: the same, for their match.
        refused: (topic, position) → row of the view `quarantine`.
        replays: (topic, position) → ledger rows that replay it.
    """

    versions: dict[tuple[str, int], Rows] = field(default_factory=dict)
    aliases: dict[Key, int] = field(default_factory=dict)
    cases: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    shown: dict[tuple[str, Key], dict[str, Any]] = field(default_factory=dict)
    matches: dict[tuple[str, Key], Match] = field(default_factory=dict)
    refused: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    replays: dict[tuple[str, int], Rows] = field(default_factory=dict)


def explain(store: Store, rows: Sequence[Mapping[str, Any]]) -> list[Explanation]:
    """One explanation per row of the view `ledger`.

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    known = _Known()
    organizations = sorted({row["organization_id"] for row in rows})
    for kind in _READ:
        identities = sorted(
            {row["identity"] for row in rows if row["record_type"] == kind and row["identity"]}
        )
        if identities:
            _gather(store, kind, organizations, identities, known)
    _gather_refused(store, organizations, rows, known)
    return [_explained(row, known) for row in rows]


def _gather(store: Store, kind: str, organizations: list[str], identities: list[int], known: _Known) -> None:
    """Everything about the records of one type."""
    for version in store.ask(_READ[kind], identities):
        known.versions.setdefault((kind, version["identity"]), []).append(version)
    several = [i for i in identities if len(known.versions.get((kind, i), ())) > 1]
    for case in store.ask(cases.cases_of, several) if several else []:
        known.cases[case["record_type"], case["identity"]] = case
    if kind == "payment":
        if several:
            homes = {version["home"] for i in several for version in known.versions[kind, i]}
            known.aliases = store.ask(why.aliases, homes, several)
        shown = store.ask(why.payments_shown, organizations, identities)
        found_matches = matches.of_payments(store, organizations, shown)
    else:
        devices = {v["device_id"] for i in identities for v in known.versions.get((kind, i), ())}
        shown = store.ask(why.reads_shown, organizations, identities, devices) if devices else []
        found_matches = matches.of_reads(store, organizations, shown)
    known.shown |= {(kind, (row["identity"], row["content_hash"])): row for row in shown}
    known.matches |= {(kind, key): match for key, match in found_matches.items()}


def _gather_refused(
    store: Store, organizations: list[str], rows: Sequence[Mapping[str, Any]], known: _Known
) -> None:
    """What became of quarantined rows."""
    positions = [row["position"] for row in rows if row["outcome"] == Outcome.QUARANTINED]
    if not positions:
        return
    for row in store.ask(why.quarantined, organizations, positions):
        known.refused[row["topic"], row["position"]] = row
    for row in store.ask(why.replays_of, organizations, positions):
        known.replays.setdefault((row["topic"], row["replay_of"]), []).append(row)


def _explained(row: Mapping[str, Any], known: _Known) -> Explanation:
    kind, outcome = row["record_type"], row["outcome"]
    told = Explanation(checks=checks(outcome, row["reasons"]), counts=False)
    if outcome == Outcome.QUARANTINED:
        told.quarantine = _refusal(row, known)
        return told
    versions = known.versions.get((kind, row["identity"]), [])
    if not versions:
        return told
    if (case := known.cases.get((kind, row["identity"]))) is not None:
        told.case = CaseState.model_validate({**case, "versions": len(case["versions"])})
    own = _version_of(row, versions, known)
    if own is None:
        return told
    if outcome == Outcome.DUPLICATE:
        told.first_occurrence = Lineage.model_validate(own)
        told.same_line = bool(row["line"]) and _line_of(own) == _line_of(row)
    if outcome == Outcome.CONFLICT and own is not versions[0]:
        told.first_occurrence = Lineage.model_validate(versions[0])
        told.differences = _differences(versions[0], own)
    version = (kind, (own["identity"], own["content_hash"]))
    stored = known.shown.get(version)
    told.counts = stored is not None
    told.stored = _told(stored) if stored is not None else None
    told.match = known.matches.get(version)
    return told


def _version_of(row: Mapping[str, Any], versions: Rows, known: _Known) -> Mapping[str, Any] | None:
    """The version that a row brought, or spells anew; None when it is not known which one that is."""
    if len(versions) == 1:
        return versions[0]
    content = known.aliases.get((row["identity"], row["content_hash"]), row["content_hash"])
    return next((version for version in versions if version["content_hash"] == content), None)


def _line_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["organization_id"], row["source_ref"], row["line"]


def _differences(first: Mapping[str, Any], this: Mapping[str, Any]) -> list[Difference]:
    pair = [first, this]
    return [
        Difference(field=name, first=contents.text_of(first, name), this=contents.text_of(this, name))
        for name in contents.comparable(contents.differing(first, this), pair)
    ]


def _refusal(row: Mapping[str, Any], known: _Known) -> Refusal | None:
    place = row["topic"], row["position"]
    found = known.refused.get(place)
    if found is None:
        return None
    replays = [ReplayMade.model_validate(replay) for replay in known.replays.get(place, [])]
    return Refusal.model_validate({**found, "replays": replays})


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a view as JSON: exact numbers and 64-bit ones as text."""
    return {name: _cell(name, value) for name, value in row.items()}


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return iso_ms(value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    return str(value) if name in _BIG and value is not None else value
