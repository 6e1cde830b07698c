"""The match of stored rows, as the views work it out now: connections found, candidates, near misses."""

from collections.abc import Mapping, Sequence
from typing import Any

from api.ledger.explanations import Candidate, Hint, Match
from api.store import Store
from sinks import why

Rows = list[dict[str, Any]]
Key = tuple[int, int]
"""Identity and content hash: names a version."""


def of_payments(store: Store, organizations: Sequence[str], shown: Rows) -> dict[Key, Match]:
    """The match of each row of the view `payments`. At most one question per kind of trouble.

    Raises:
        StoreAway: ClickHouse does not answer.
    """
    unmatched = sorted({_sent(row) for row in shown if row["match_status"] == "unmatched"} - {""})
    near = store.ask(why.near_misses, organizations, unmatched) if unmatched else []
    several = [row for row in shown if row["match_status"] == "ambiguous"]
    found = _candidates(store, organizations, several) if several else {}
    return {
        (row["identity"], row["content_hash"]): Match(
            status=row["match_status"],
            matched_by=row["matched_by"],
            connection_id=row["connection_id"],
            project_id=row["project_id"],
            counted=row["counted"],
            reversed=row["reversed"],
            candidates=found.get((row["identity"], row["content_hash"]), []),
            hints=[Hint.model_validate(hint) for hint in near if _hints_at(hint, row)],
        )
        for row in shown
    }


def of_reads(store: Store, organizations: Sequence[str], shown: Rows) -> dict[Key, Match]:
    """The match of each row of the view `reads`: the connections that its device measures."""
    devices = sorted({row["device_id"] for row in shown})
    found: dict[str, list[Candidate]] = {}
    for row in store.ask(why.measured_connections, organizations, devices) if devices else []:
        found.setdefault(row["device_id"], []).append(Candidate.model_validate(row))
    return {
        (row["identity"], row["content_hash"]): _measured(found.get(row["device_id"], [])) for row in shown
    }


def _measured(connections: list[Candidate]) -> Match:
    """A device may measure several connections, each of which has its energy."""
    first = connections[0] if connections else None
    return Match(
        status="matched" if first else "unmatched",
        matched_by="device" if first else "",
        connection_id=first.connection_id if first else "",
        project_id=first.project_id if first else "",
        counted=None,
        reversed=None,
        candidates=connections if len(connections) > 1 else [],
    )


def _sent(row: Mapping[str, Any]) -> str:
    """The id that hints are about: METER_ID, or EXTERNAL_ID where there is none (view `match_hints`)."""
    return str(row["meter_id"] or row["external_id"])


def _hints_at(hint: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    mine = hint["organization_id"] == row["organization_id"] and hint["sent_id"] == _sent(row)
    return bool(mine and row["match_status"] == "unmatched")


def _candidates(store: Store, organizations: Sequence[str], rows: Rows) -> dict[Key, list[Candidate]]:
    """The connections that made each of these payments ambiguous."""
    names = {(row["organization_id"], _found_by(row)): row for row in rows}
    known = {
        (found["organization_id"], found["external_id"]): found["candidates"]
        for found in store.ask(why.candidates, organizations, sorted({name for _, name in names}))
    }
    datasets = sorted({row["dataset_id"] for row in rows} - {""})
    within = store.ask(why.scopes, datasets) if datasets else set()
    return {
        (row["identity"], row["content_hash"]): [
            Candidate(
                connection_id=one["connection_id"], project_id=one["project_id"], external_id=_found_by(row)
            )
            for one in known.get((row["organization_id"], _found_by(row)), [])
            if _in_scope(row, one, within) and _valid(row, one)
        ]
        for row in rows
    }


def _found_by(row: Mapping[str, Any]) -> str:
    return str(row["meter_id"] if row["matched_by"] == "METER_ID" else row["external_id"])


def _in_scope(row: Mapping[str, Any], one: Mapping[str, Any], within: set[tuple[str, str, str]]) -> bool:
    place = (row["organization_id"], row["dataset_id"], one["project_id"])
    return row["dataset_id"] == "" or place in within


def _valid(row: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    begins, ends = one["valid_from"], one["valid_to"]
    return bool((begins is None or begins <= row["timestamp"]) and (ends is None or row["timestamp"] < ends))
