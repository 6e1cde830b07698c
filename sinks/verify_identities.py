"""What the verifier asks about payments and reads themselves: firsts that are missing, doubled, or forgotten.

A row can agree with its range and its version and be wrong all the same: called a duplicate of nothing, or
the first of what has a first. Two of these questions follow identities out of the slice and look through all
that are stored (0.1 s for a million). Everything here may raise the driver's exceptions.
"""

from typing import Final

from clickhouse_connect.driver.client import Client

from sinks.verify import Slice
from sinks.verify_rows import FOUND, SLICE, Found, found, known_table, recent, verdicts

VISIBLE_MS: Final = 100
"""A ledger row that is older than this when a thorough question begins was there by then, and so was all
that is stored before a ledger row. Younger ones are those of forwarded rows: their home stores them at any
time, also between the reading of two tables."""


def duplicates_of_nothing(client: Client, where: Slice, table: str, *, thorough: bool) -> Found | None:
    """Duplicate rows whose identity has no version at all in `table`."""
    return found(
        client,
        f"{FOUND} FROM ({_verdicts(thorough)}) WHERE verdict = 'duplicate' AND identity NOT IN"
        f" (SELECT identity FROM {known_table(table)} WHERE identity IN"
        f" (SELECT identity FROM ledger_rows WHERE {SLICE} AND outcome = 'duplicate'))",
        where,
    )


def duplicates_of_others(client: Client, where: Slice, table: str, *, thorough: bool) -> Found | None:
    """Duplicate rows whose identity is stored, but never was with that content: a further version is lost.

    Of payments the keys know every content, other spellings included; of reads the versions do.
    """
    mine = f"SELECT identity FROM ledger_rows WHERE {SLICE} AND outcome = 'duplicate'"
    versions = f"FROM {known_table(table)} WHERE identity IN ({mine})"
    contents = f"SELECT identity, content_hash {versions}"
    if table == "payment_versions":
        contents += (
            " UNION ALL SELECT identity, content_hash FROM payment_keys"
            f" WHERE (home, identity) IN (SELECT home, identity {versions})"
        )
    return found(
        client,
        f"{FOUND} FROM ({_verdicts(thorough)}) WHERE verdict = 'duplicate'"
        f" AND identity IN (SELECT identity {versions}) AND (identity, content_hash) NOT IN ({contents})",
        where,
    )


def replayed_twice(client: Client, where: Slice) -> Found | None:
    """Accepted replays of a refused row of which another replay was accepted as another record.

    Two replays of one row with different IDs are one payment counted twice.
    """
    mine = f"FROM ledger_rows WHERE {SLICE} AND outcome = 'accepted' AND replay_of IS NOT NULL"
    return found(
        client,
        f"{FOUND} FROM (SELECT DISTINCT position {mine} AND (organization_id, replay_of) IN"
        " (SELECT organization_id, replay_of FROM ledger_rows WHERE topic = {topic:String}"
        f" AND outcome = 'accepted' AND replay_of IN (SELECT replay_of {mine})"
        " GROUP BY organization_id, replay_of HAVING uniqExact(identity) > 1))",
        where,
    )


def accepted_twice(client: Client, where: Slice, table: str, *, thorough: bool) -> Found | None:
    """Accepted versions whose identity has another accepted one, until a decision names every one of them.

    Not `thorough`: the other one was stored about as long ago.
    """
    mine = (
        f"SELECT identity FROM {known_table(table)} WHERE {SLICE} AND outcome = 'accepted'{recent(thorough)}"
    )
    decided = (
        "SELECT identity, arrayJoin(known) FROM decisions"
        f" WHERE record_type = {{record_type:String}} AND identity IN ({mine})"
    )
    return found(
        client,
        f"{FOUND} FROM (SELECT DISTINCT position FROM {table} WHERE {SLICE} AND outcome = 'accepted'"
        f" AND identity IN (SELECT identity FROM {table} WHERE outcome = 'accepted' AND identity IN ({mine})"
        f"{recent(thorough)} GROUP BY identity HAVING uniqExact(content_hash) > 1"
        f" AND countIf((identity, content_hash) NOT IN ({decided})) > 0))",
        where,
        record_type="payment" if table == "payment_versions" else "read",
    )


def other_outcome(client: Client, where: Slice, table: str, *, thorough: bool) -> Found | None:
    """Accepted and conflict rows whose version was stored with another outcome than the ledger tells."""
    versions = (
        "SELECT position, identity, content_hash, toString(argMin(outcome, stored_at)) AS outcome"
        f" FROM {known_table(table)} WHERE {SLICE}{recent(thorough)}"
        " GROUP BY position, identity, content_hash"
    )
    return found(
        client,
        f"{FOUND} FROM ({_verdicts(thorough)}) WHERE verdict IN ('accepted', 'conflict') AND"
        " (position, identity, content_hash,"
        f" if(verdict = 'accepted', 'conflict', 'accepted')) IN ({versions})",
        where,
    )


def without_key(client: Client, where: Slice, table: str, *, thorough: bool) -> Found | None:
    """Versions of payments that have their ledger row and no key: the next worker would not look for them.

    Reads have no keys.
    """
    if table != "payment_versions":
        return None
    mine = f"FROM payment_versions WHERE {SLICE}{recent(thorough)}"
    return found(
        client,
        f"{FOUND} FROM (SELECT DISTINCT position {mine} AND position IN"
        f" (SELECT position FROM ({_verdicts(thorough)}) WHERE verdict IN ('accepted', 'conflict'))"
        " AND (home, identity, content_hash) NOT IN (SELECT home, identity, content_hash FROM payment_keys"
        f" WHERE (home, identity) IN (SELECT home, identity {mine})))",
        where,
    )


def _verdicts(thorough: bool) -> str:
    return verdicts(f" AND stored_at < now64(3) - INTERVAL {VISIBLE_MS} MILLISECOND" if thorough else "")
