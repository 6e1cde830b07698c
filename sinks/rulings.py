"""Decisions in force, as the worker reads them before it judges a further version."""

from collections.abc import Iterable
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from sinks.chunks import chunks


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


def latest_decisions(client: Client, identities: Iterable[int]) -> dict[int, LatestDecision]:
    """Identity → the latest decision about this payment, as the view `decisions_in_force` tells it.

    May raise the driver's exceptions; `errors.classify` sorts them.
    """
    found: dict[int, LatestDecision] = {}
    for wanted in chunks(sorted(set(identities))):
        rows = client.query(
            # A decision that is written again after a crash stays what it was at first.
            "SELECT identity, argMax(selected, (decided_at, decision_id)),"
            " argMax(known, (decided_at, decision_id)), toUnixTimestamp64Milli(max(decided_at))"
            " FROM (SELECT * FROM decisions"
            " WHERE record_type = 'payment' AND identity IN {identities:Array(UInt64)}"
            " ORDER BY stored_at LIMIT 1 BY organization_id, identity, decision_id) GROUP BY identity",
            parameters={"identities": wanted},
        ).result_rows
        found.update({row[0]: LatestDecision(list(row[1]), list(row[2]), int(row[3])) for row in rows})
    return found
