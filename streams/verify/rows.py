"""Ledger rows, facts and keys of one slice, compared table by table: one question per kind of fault."""

from collections.abc import Callable, Mapping
from typing import Final

from clickhouse_connect.driver.client import Client

from sinks import verify_identities, verify_rows
from sinks.verify import Slice
from sinks.verify_rows import Found
from streams.verify.findings import Kind

Question = Callable[[Client, Slice, str, bool], Found | None]
"""(client, slice, table of versions, thorough) → offsets that are wrong. A question that is not thorough
looks only at versions stored about as long ago as the slice's ledger rows: what it suspects is asked again
thoroughly, and what it overlooks (a version stored long before) is seen by the next full pass."""

QUESTIONS: Final[Mapping[Kind, Question]] = {
    Kind.TWO_OUTCOMES: lambda client, where, table, thorough: verify_rows.judged_twice(client, where),
    Kind.STRANGER: lambda client, where, table, thorough: verify_rows.strangers(client, where),
    Kind.NO_VERSION: lambda client, where, table, thorough: verify_rows.without_version(
        client, where, table, thorough=thorough
    ),
    Kind.NO_QUARANTINE_ROW: lambda client, where, table, thorough: verify_rows.without_quarantine_row(
        client, where
    ),
    Kind.VERSION_WITHOUT_OUTCOME: lambda client, where, table, thorough: verify_rows.versions_unjudged(
        client, where, table, thorough=thorough
    ),
    Kind.QUARANTINE_WITHOUT_OUTCOME: lambda client, where, table, thorough: verify_rows.quarantine_unjudged(
        client, where
    ),
    Kind.DUPLICATE_OF_NOTHING: lambda client, where, table, thorough: verify_identities.duplicates_of_nothing(
        client, where, table, thorough=thorough
    ),
    Kind.DUPLICATE_OF_OTHER: lambda client, where, table, thorough: verify_identities.duplicates_of_others(
        client, where, table, thorough=thorough
    ),
    Kind.REPLAYED_TWICE: lambda client, where, table, thorough: verify_identities.replayed_twice(
        client, where
    ),
    Kind.ACCEPTED_TWICE: lambda client, where, table, thorough: verify_identities.accepted_twice(
        client, where, table, thorough=thorough
    ),
    Kind.OTHER_OUTCOME: lambda client, where, table, thorough: verify_identities.other_outcome(
        client, where, table, thorough=thorough
    ),
    Kind.NO_KEY: lambda client, where, table, thorough: verify_identities.without_key(
        client, where, table, thorough=thorough
    ),
}
"""Every fact is stored before its ledger row, and every ledger row before its range, so whatever is asked
about offsets whose range was read before has been stored. The one exception are forwarded rows, whose home
judges them in its own time: see `Finding.in_flight`."""

IN_FLIGHT: Final = frozenset({Kind.NO_OUTCOME, Kind.VERSION_WITHOUT_OUTCOME, Kind.QUARANTINE_WITHOUT_OUTCOME})
"""Kinds that a forwarded row on its way to its home looks like."""
