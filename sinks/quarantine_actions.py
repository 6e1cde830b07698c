"""What was done about refused rows: written before the deed, so that two who want the same row see it.

A replay by a person and one by the sweep exclude each other like this: each writes that it means to act
(`claimed`, `requeued`), waits until that is stored, and only then looks what others have written. Whoever
writes second sees the first one; the sweep gives way to a person, and a person to a sweep that was first.
Between people a row of SQL decides before any of this (`api/quarantine/claims.py`).

All of this is about received rows: what is written about one record counts for the other records of its
row (`received_row` of `quarantine_rows`). `withdrawn` ends the attempt of its own `claim_id` and no other
one, so one that is stored late undoes nobody's claim or discard.

Everything here may raise the driver's exceptions; `errors.classify` sorts them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from sinks.chunks import chunks
from sinks.quarantine import Place
from sinks.tables import batch_of_rows

TABLE: Final = "quarantine_actions"
CLAIM_S: Final = 180.0
"""From this age (seconds) on an intention may be somebody's who died before he acted."""
ACT_WITHIN_S: Final = 60.0
"""Nobody publishes later than this after he wrote his intention; a record that is under way then arrives
or is given up long before `CLAIM_S`."""
SWEEP: Final = "sweep"
_CONSISTENT: Final = {"select_sequential_consistency": 1}
_ROWS: Final = (
    "SELECT received_row FROM quarantine_rows"
    " WHERE topic = {topic:String} AND position IN {positions:Array(UInt64)}"
)
LATEST: Final = (
    "if(arrayExists(deed -> deed.2 = 'withdrawn' AND deed.3 = held.3 AND deed.1 >= held.1,"
    " arraySort(groupArrayIf((a.stored_at, toString(a.action), a.claim_id), a.action != 'requeued'))"
    " AS deeds),"
    " 'withdrawn', (arrayLast(deed -> deed.2 != 'withdrawn', deeds) AS held).2)"
)
"""A person's latest action of those of `quarantine_actions AS a`, empty without one: what was claimed or
discarded last, unless that attempt was withdrawn. The view `quarantine` says the same."""


class Action(StrEnum):
    """What is written about a row."""

    CLAIMED = "claimed"
    WITHDRAWN = "withdrawn"
    DISCARDED = "discarded"
    REQUEUED = "requeued"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a refused row stands.

    Attributes:
        replayed: a record that replays it has an outcome.
        counted: another record of the same line of the same `source_ref` was not refused.
        latest: a person's latest action, None without one.
        requeued_age_s: seconds since the sweep last meant to replay it, None if it never did.
        requeued_at: the moment of that, clock of the server, UTC, microseconds; names the intention.
        claim_id: the attempt of the latest action: whoever takes that back names it.
    """

    replayed: bool = False
    latest: Action | None = None
    requeued_age_s: float | None = None
    requeued_at: datetime | None = None
    counted: bool = False
    claim_id: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A refused row's place in a chain: which row it replays, and whether its own replay changed it."""

    replay_of: int | None
    changed: bool


def action_batch(
    rows: Iterable[tuple[str, Place]],
    action: Action,
    done_by: str,
    *,
    claim_id: str = "",
    changed: bool = False,
    reason: str = "",
) -> pa.RecordBatch:
    """The rows of `quarantine_actions` for refused rows, each given as organisation and place."""
    same = {"claim_id": claim_id, "done_by": done_by, "changed": changed, "reason": reason}
    return batch_of_rows(
        TABLE,
        [
            {"topic": topic, "position": at, "organization_id": owner, "action": action.value, **same}
            for owner, (topic, at) in rows
        ],
    )


def standings(client: Client, rows: Iterable[tuple[str, Place]]) -> dict[Place, Standing]:
    """Where rows stand now; every row that is asked for is in the answer."""
    owners = {place: owner for owner, place in rows}
    found: dict[Place, Standing] = {}
    for topic in sorted({topic for topic, _ in owners}):
        for positions in chunks(at for known, at in owners if known == topic):
            asked = {"topic": topic, "positions": positions}
            of = _received_rows(client, asked)
            named = _replayed(client, asked)
            replayed = {(owner, of[at]) for owner, at in named if at in of}
            actions, counted = _actions(client, asked), _counted(client, asked)
            for at in positions:
                row = of.get(at)
                was = row is not None and (owners[topic, at], row) in replayed
                latest, age_s, begun, claim_id = actions.get(row, (None, None, None, ""))
                is_counted = (owners[topic, at], at) in counted
                found[topic, at] = Standing(was, latest, age_s, begun, is_counted, claim_id)
    return found


def records_of(client: Client, places: Iterable[Place]) -> dict[Place, list[Place]]:
    """For each refused record all refused records of the same received row, itself included, in order."""
    wanted = set(places)
    found: dict[Place, list[Place]] = {}
    for topic in sorted({topic for topic, _ in wanted}):
        for positions in chunks(sorted(at for known, at in wanted if known == topic)):
            of = _received_rows(client, {"topic": topic, "positions": positions})
            members: dict[int, list[Place]] = {}
            for at, row in sorted(of.items()):
                members.setdefault(row, []).append((topic, at))
            found |= {(topic, at): members[of[at]] if at in of else [(topic, at)] for at in positions}
    return found


def sent(client: Client, topic: str, positions: Sequence[int]) -> dict[int, Sent]:
    """How these refused rows were sent; positions without a row are left out."""
    found: dict[int, Sent] = {}
    for wanted in chunks(sorted(set(positions))):
        rows = client.query(
            "SELECT position, any(q.replay_of), any(a.changed) FROM quarantine_rows AS q LEFT JOIN"
            " (SELECT position, argMax(changed, stored_at) AS changed FROM quarantine_actions"
            " WHERE topic = {topic:String} AND position IN {positions:Array(UInt64)}"
            " AND action IN ('claimed', 'requeued') GROUP BY position) AS a ON a.position = q.position"
            " WHERE q.topic = {topic:String} AND q.position IN {positions:Array(UInt64)} GROUP BY position",
            parameters={"topic": topic, "positions": wanted},
        ).result_rows
        found.update({row[0]: Sent(row[1], bool(row[2])) for row in rows})
    return found


def history(client: Client, topic: str, position: int) -> list[dict[str, Any]]:
    """All actions on a row, oldest first: action, done_by, reason, changed, stored_at."""
    found = client.query(
        "SELECT action, done_by, reason, changed, stored_at FROM quarantine_actions"
        " WHERE topic = {topic:String} AND position = {position:UInt64} ORDER BY stored_at",
        parameters={"topic": topic, "position": position},
    )
    return list(found.named_results())


def _received_rows(client: Client, asked: Mapping[str, Any]) -> dict[int, int]:
    """Position → received row, of the records that are asked for and all others of the same rows."""
    rows = client.query(
        "SELECT position, received_row FROM quarantine_rows FINAL"
        f" WHERE topic = {{topic:String}} AND received_row IN ({_ROWS})",
        parameters=dict(asked),
        settings=_CONSISTENT,
    ).result_rows
    return {int(row[0]): int(row[1]) for row in rows}


def _replayed(client: Client, asked: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Organisation and position of the records that a ledger row names in `replay_of`."""
    rows = client.query(
        "SELECT DISTINCT organization_id, assumeNotNull(replay_of) FROM ledger_rows"
        " WHERE topic = {topic:String} AND replay_of IN (SELECT position FROM quarantine_rows"
        f" WHERE topic = {{topic:String}} AND received_row IN ({_ROWS}))",
        parameters=dict(asked),
        settings=_CONSISTENT,
    ).result_rows
    return {(row[0], row[1]) for row in rows}


def _counted(client: Client, asked: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Organisation and position of the records of whose line another record was not refused."""
    line = "organization_id, dataset_id, source_ref, line, record_id"
    rows = client.query(
        f"WITH asked AS (SELECT {line}, position FROM quarantine_rows WHERE topic = {{topic:String}}"
        " AND position IN {positions:Array(UInt64)} AND line != 0 AND source_ref != '')"
        " SELECT organization_id, position FROM asked"
        f" WHERE ({line}) IN (SELECT {line} FROM ledger_rows WHERE topic = {{topic:String}}"
        " AND source_ref IN (SELECT source_ref FROM asked) AND line IN (SELECT line FROM asked)"
        " AND outcome != 'quarantined' AND replay_of IS NULL)",
        parameters=dict(asked),
        settings=_CONSISTENT,
    ).result_rows
    return {(row[0], int(row[1])) for row in rows}


def _actions(
    client: Client, asked: Mapping[str, Any]
) -> dict[int | None, tuple[Action | None, float | None, datetime | None, str]]:
    """Received row → a person's latest action, age and moment of the sweep's latest, attempt of the first."""
    rows = client.query(
        f"SELECT r.received_row, {LATEST} AS latest, maxIf(a.stored_at, a.action = 'requeued') AS begun,"
        " countIf(a.action = 'requeued'), dateDiff('millisecond', begun, now64(6)) / 1000, held.3"
        " FROM quarantine_rows AS r INNER JOIN quarantine_actions AS a"
        " ON a.topic = r.topic AND a.position = r.position"
        f" WHERE r.topic = {{topic:String}} AND r.received_row IN ({_ROWS}) GROUP BY r.received_row",
        parameters=dict(asked),
        settings=_CONSISTENT,
    ).result_rows
    return {
        row[0]: (
            Action(row[1]) if row[1] else None,
            *((float(row[4]), row[2]) if row[3] else (None, None)),
            row[5],
        )
        for row in rows
    }
