"""The keys a deduplication index is restored from: payments by home, high waters of reads.

A version whose process died before it wrote the key counts as a key, too. Its redelivery would find it, but
another row of the payment may come first, since partitions that are added meanwhile part the two.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from clickhouse_connect.driver.client import Client

from sinks.arrow_results import arrow_table
from sinks.client import INSERT_LIMIT_S

U64Array = npt.NDArray[np.uint64]

KEY_OUTCOMES: Final = ("accepted", "conflict", "alias")
"""Outcome of a key; the index in this tuple is the code in `KeySlice.outcomes`."""

OVERLAP_MS: Final = 2 * INSERT_LIMIT_S * 1000
"""How far before a watermark a restore begins: an insert becomes visible after its `stored_at`."""

_KEY: Final = np.dtype(
    [("home", "<u2"), ("identity", "<u8"), ("content", "<u8"), ("position", "<u8"), ("outcome", "u1")]
)
_CHUNK: Final = _KEY.itemsize * 400_000

_OF_HOMES: Final = (
    "WHERE home IN {homes:Array(UInt16)} AND stored_at >= fromUnixTimestamp64Milli({since:Int64})"
)
_COLUMNS: Final = (
    "home, identity, content_hash, position,"
    " toUInt8(transform(toString(outcome), ['accepted', 'conflict', 'alias'], [0, 1, 2], 255)) AS code"
)
_KEYS_AND_VERSIONS: Final = (
    f"SELECT {_COLUMNS} FROM payment_keys {_OF_HOMES} UNION ALL"
    f" SELECT {_COLUMNS} FROM payment_versions {_OF_HOMES} AND (identity, content_hash) NOT IN"
    # a key is stored after its version: what is older than the moment belongs to older versions
    f" (SELECT identity, content_hash FROM payment_keys {_OF_HOMES})"
)


class KeySlice(NamedTuple):
    """Keys of one home, in no order; a home comes in several slices, and a key may come twice."""

    home: int
    identities: U64Array
    contents: U64Array
    positions: U64Array
    outcomes: npt.NDArray[np.uint8]


def stream_keys(
    client: Client, homes: Sequence[int], after: Mapping[int, int] | None = None
) -> Iterator[KeySlice]:
    """Keys of payments that live in these homes, and versions that have no key.

    Args:
        homes: homes whose partitions were assigned.
        after: for homes whose slice was kept, the `server_now_ms` of the moment before it was last read
            or written; only keys stored since then (less `OVERLAP_MS`) are read. Positions would not
            do: a forwarded row keeps its origin position, which may be lower than ones already seen.
    """
    kept = after or {}
    fresh = [home for home in homes if home not in kept]
    if fresh:
        yield from _read_keys(client, fresh, 0)
    known = [home for home in homes if home in kept]
    if known:
        yield from _read_keys(client, known, min(kept[home] for home in known) - OVERLAP_MS)


def _read_keys(client: Client, homes: Sequence[int], since_ms: int) -> Iterator[KeySlice]:
    stream = client.raw_stream(
        _KEYS_AND_VERSIONS,
        parameters={"homes": list(homes), "since": max(since_ms, 0)},
        settings={"max_execution_time": 0},  # bounded by the caller, who can stop reading
        fmt="RowBinary",
    )
    with stream as source:
        for block in _records(source):
            yield from _by_home(block)


def _records(source: Any) -> Iterator[npt.NDArray[Any]]:
    """Whole records of a byte stream, in large arrays."""
    buffer = bytearray()
    for data in iter(lambda: source.read(1 << 20), b""):
        buffer += data
        if len(buffer) >= _CHUNK:
            whole = len(buffer) - len(buffer) % _KEY.itemsize
            yield np.frombuffer(bytes(buffer[:whole]), dtype=_KEY)
            del buffer[:whole]
    if len(buffer) % _KEY.itemsize:
        raise OSError("the store ended a key stream inside a record")
    if buffer:
        yield np.frombuffer(bytes(buffer), dtype=_KEY)


def _by_home(block: npt.NDArray[Any]) -> Iterator[KeySlice]:
    """Split records by home. A stable sort of 16-bit numbers is a radix sort: linear."""
    homes = np.ascontiguousarray(block["home"])
    order = np.argsort(homes, kind="stable")
    columns = [
        np.ascontiguousarray(block[name])[order] for name in ("identity", "content", "position", "outcome")
    ]
    found, starts = np.unique(homes[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    for home, start, end in zip(found.tolist(), starts.tolist(), ends.tolist(), strict=True):
        yield KeySlice(home, *[column[start:end] for column in columns])


def server_now_ms(client: Client) -> int:
    """The server's clock, milliseconds since 1970: the clock of `stored_at`."""
    return int(client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0])


class HighWater(NamedTuple):
    """Greatest end of stored reads per device and type; columns of equal length."""

    device_ids: list[str]
    types: list[str]
    ends_ms: npt.NDArray[np.int64]


def read_high_water(client: Client, homes: Sequence[int]) -> HighWater:
    """Greatest `end` (milliseconds since 1970) of each device and read type in these homes."""
    table = arrow_table(
        client,
        "SELECT device_id, toString(type) AS type, toUnixTimestamp64Milli(max(end)) AS ends_ms"
        " FROM read_versions WHERE home IN {homes:Array(UInt16)} GROUP BY device_id, type",
        {"homes": list(homes)},
    )
    return HighWater(
        table["device_id"].to_pylist(),
        table["type"].to_pylist(),
        table["ends_ms"].to_numpy().astype(np.int64),
    )
