"""Decisions in force, as the worker reads them before it judges a further version."""

from collections.abc import Iterable

from clickhouse_connect.driver.client import Client

from schemas.conflicts import LatestDecision
from sinks.chunks import chunks


def latest_decisions(client: Client, identities: Iterable[int]) -> dict[int, LatestDecision]:
    """Identity → the latest decision about this payment, as the view `decisions_in_force` tells it.

    May raise the driver's exceptions; `errors.classify` sorts them.
    """
    found: dict[int, LatestDecision] = {}
    for wanted in chunks(sorted(set(identities))):
        rows = client.query(
            # A decision that is written again after a crash stays what it was at first.
            "SELECT identity, argMax(selected, (in_force_from, decision_id)),"
            " argMax(known, (in_force_from, decision_id)), toUnixTimestamp64Milli(max(in_force_from))"
            " FROM (SELECT *, in_force_from FROM decisions"
            " WHERE record_type = 'payment' AND identity IN {identities:Array(UInt64)}"
            " ORDER BY stored_at LIMIT 1 BY organization_id, identity, decision_id) GROUP BY identity",
            parameters={"identities": wanted},
        ).result_rows
        found.update({row[0]: LatestDecision(list(row[1]), list(row[2]), int(row[3])) for row in rows})
    return found
