"""Stored History reads near new ones: they may not overlap (seed: developer-onboarding)."""

from collections.abc import Iterable

from clickhouse_connect.driver.client import Client

from sinks.chunks import AT_ONCE, chunks


def history_intervals(
    client: Client, device_ids: Iterable[str], first_ms: int, last_ms: int
) -> dict[str, list[tuple[int, int, int]]]:
    """Device id → (start, end, identity) of its History reads that touch a span of time.

    Times are milliseconds UTC. May raise the driver's exceptions; `errors.classify` sorts them.
    """
    found: dict[str, list[tuple[int, int, int]]] = {}
    for wanted in chunks(sorted(set(device_ids)), AT_ONCE // 4):
        rows = client.query(
            "SELECT device_id, toUnixTimestamp64Milli(assumeNotNull(start)), toUnixTimestamp64Milli(end),"
            " identity FROM read_versions WHERE type = 'History' AND device_id IN {devices:Array(String)}"
            " AND end > fromUnixTimestamp64Milli({first:Int64})"
            " AND start < fromUnixTimestamp64Milli({last:Int64})",
            parameters={"devices": wanted, "first": first_ms, "last": last_ms},
        ).result_rows
        for device_id, start, end, identity in rows:
            found.setdefault(device_id, []).append((start, end, identity))
    return found
