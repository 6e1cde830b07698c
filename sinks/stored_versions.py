"""All stored versions of payments and reads, for a comparison field by field."""

from collections.abc import Iterable, Mapping
from typing import Any

from clickhouse_connect.driver.client import Client

from sinks.arrow_results import arrow_table
from sinks.chunks import AT_ONCE, chunks
from sinks.tables import SCHEMAS


def stored_payments(client: Client, identities: Iterable[int]) -> list[dict[str, Any]]:
    """All stored versions of payments, every column of `payment_versions`, by identity.

    Of each the accepted one first, then as they were stored: positions tell no order of versions, they
    begin with the number of the partition.

    Times are aware UTC datetimes, decimals `Decimal`.
    """
    return _versions(client, "payment_versions", identities, "")


def stored_reads(
    client: Client, identities: Iterable[int], device_ids: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """All stored versions of reads, in the same order; naming the devices makes it cheaper."""
    devices = sorted(set(device_ids or ()))
    if not devices or len(devices) > AT_ONCE // 2:
        return _versions(client, "read_versions", identities, "")
    return _versions(
        client,
        "read_versions",
        identities,
        " AND device_id IN {devices:Array(String)}",
        {"devices": devices},
    )


def _versions(
    client: Client,
    table: str,
    identities: Iterable[int],
    condition: str,
    parameters: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for wanted in chunks(sorted(set(identities))):
        found = arrow_table(
            client,
            f"SELECT {', '.join(SCHEMAS[table].names)} FROM {table}"
            f" WHERE identity IN {{identities:Array(UInt64)}}{condition}"
            " ORDER BY identity, position != argMin(position, (outcome != 'accepted', position))"
            " OVER (PARTITION BY identity), stored_at, position LIMIT 1 BY identity, content_hash",
            {"identities": wanted, **(parameters or {})},
        )
        rows += found.cast(SCHEMAS[table]).to_pylist(maps_as_pydicts="strict")
    return rows
