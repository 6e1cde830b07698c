"""Decisions in force, as the worker reads them before it judges a further version."""

from collections.abc import Iterable

from clickhouse_connect.driver.client import Client

from sinks.chunks import chunks


def latest_decisions(client: Client, identities: Iterable[int]) -> dict[int, tuple[list[int], list[int]]]:
    """Identity → (contents that count, contents known to the decision) of its latest decision.

    May raise the driver's exceptions; `errors.classify` sorts them.
    """
    found: dict[int, tuple[list[int], list[int]]] = {}
    for wanted in chunks(sorted(set(identities))):
        rows = client.query(
            "SELECT identity, argMax(selected, (decided_at, decision_id)),"
            " argMax(known, (decided_at, decision_id))"
            " FROM decisions WHERE identity IN {identities:Array(UInt64)} GROUP BY identity",
            parameters={"identities": wanted},
        ).result_rows
        found.update({row[0]: (list(row[1]), list(row[2])) for row in rows})
    return found
