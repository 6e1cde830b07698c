"""What a worker reads back before it judges: the deduplication index, high waters, outcomes, epochs.

Everything here may raise the driver's exceptions; `errors.classify` sorts them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from schemas.identity import position
from sinks.client import INSERT_LIMIT_S
from sinks.tables import SCHEMAS

U64Array = npt.NDArray[np.uint64]

KEY_OUTCOMES: Final = ("accepted", "conflict", "alias")
"""Outcome of a key; the index in this tuple is the code in `KeySlice.outcomes`."""

OVERLAP_MS: Final = 2 * INSERT_LIMIT_S * 1000
"""How far before a watermark a restore begins: an insert becomes visible after its `stored_at`."""

_KEY: Final = np.dtype(
    [("home", "<u2"), ("identity", "<u8"), ("content", "<u8"), ("position", "<u8"), ("outcome", "u1")]
)
_CHUNK: Final = _KEY.itemsize * 400_000
_FACTS: Final = ("payment_versions", "read_versions", "quarantine_rows")


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
    """Keys of payments that live in these homes.

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
        "SELECT home, identity, content_hash, position,"
        " toUInt8(transform(toString(outcome), ['accepted', 'conflict', 'alias'], [0, 1, 2], 255))"
        " FROM payment_keys WHERE home IN {homes:Array(UInt16)}"
        " AND stored_at >= fromUnixTimestamp64Milli({since:Int64})",
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
    columns = [np.ascontiguousarray(block[name])[order] for name in ("identity", "content", "position", "outcome")]
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
    table = _arrow(
        client,
        "SELECT device_id, toString(type) AS type, toUnixTimestamp64Milli(max(end)) AS ends_ms"
        " FROM read_versions WHERE home IN {homes:Array(UInt16)} GROUP BY device_id, type",
        {"homes": list(homes)},
    )
    return HighWater(
        table["device_id"].to_pylist(), table["type"].to_pylist(), table["ends_ms"].to_numpy().astype(np.int64)
    )


def ledger_high(client: Client, topic: str, epoch: int, partition: int) -> int:
    """Highest position of this partition that has an outcome; -1 when none has.

    Rows forwarded from another partition keep their origin position and are not counted here.
    """
    rows = client.query(
        "SELECT maxOrNull(position) FROM ledger_rows"
        " WHERE topic = {topic:String} AND position BETWEEN {first:UInt64} AND {last:UInt64}",
        parameters=_partition(topic, epoch, partition),
    ).result_rows
    return -1 if rows[0][0] is None else int(rows[0][0])


def ledger_next_offset(client: Client, topic: str, epoch: int, partition: int) -> int | None:
    """Offset after the last finished batch of this partition; None when none was finished."""
    rows = client.query(
        "SELECT maxOrNull(next_offset) FROM ledger_ranges"
        " WHERE topic = {topic:String} AND epoch = {epoch:UInt8} AND partition = {partition:UInt16}",
        parameters={"topic": topic, "epoch": epoch, "partition": partition},
    ).result_rows
    return None if rows[0][0] is None else int(rows[0][0])


def ledger_outcomes(client: Client, topic: str, first_position: int, last_position: int) -> dict[int, str]:
    """First-stored outcome of every position in a range, both ends included."""
    return _outcomes(
        client,
        "position BETWEEN {first:UInt64} AND {last:UInt64}",
        {"topic": topic, "first": first_position, "last": last_position},
    )


def ledger_outcomes_of(client: Client, topic: str, positions: Iterable[int]) -> dict[int, str]:
    """First-stored outcome of the given positions (origin positions of forwarded rows)."""
    wanted = list(positions)
    if not wanted:
        return {}
    return _outcomes(client, "position IN {positions:Array(UInt64)}", {"topic": topic, "positions": wanted})


def _outcomes(client: Client, condition: str, parameters: dict[str, Any]) -> dict[int, str]:
    table = _arrow(
        client,
        "SELECT position, toString(argMin(outcome, stored_at)) AS outcome FROM ledger_rows"
        f" WHERE topic = {{topic:String}} AND {condition} GROUP BY position",
        parameters,
    )
    return dict(zip(table["position"].to_pylist(), table["outcome"].to_pylist(), strict=True))


@dataclass(frozen=True, slots=True)
class Orphan:
    """A row stored without its ledger row: the process died between the two inserts."""

    table: str
    position: int
    outcome: str
    identity: int
    content_hash: int


def orphans(
    client: Client,
    topic: str,
    epoch: int,
    partition: int,
    above: int,
    tables: Sequence[str] = _FACTS,
) -> dict[int, Orphan]:
    """Rows of a partition in fact or quarantine tables above a position, that have no ledger row.

    On a replay they keep the outcome they were stored with. Forwarded rows carry their origin's
    partition; ask for them with `orphans_of`.
    """
    bounds = _partition(topic, epoch, partition)
    bounds["first"] = max(bounds["first"], above + 1)
    return _orphans(client, "position BETWEEN {first:UInt64} AND {last:UInt64}", bounds, tables)


def orphans_of(
    client: Client, topic: str, positions: Iterable[int], tables: Sequence[str] = _FACTS
) -> dict[int, Orphan]:
    """The same for given positions (origin positions of forwarded rows)."""
    wanted = list(positions)
    if not wanted:
        return {}
    parameters = {"topic": topic, "positions": wanted}
    return _orphans(client, "position IN {positions:Array(UInt64)}", parameters, tables)


def _orphans(
    client: Client, condition: str, parameters: dict[str, Any], tables: Sequence[str]
) -> dict[int, Orphan]:
    found: dict[int, Orphan] = {}
    for table in tables:
        quarantine = table == "quarantine_rows"
        outcome = "'quarantined'" if quarantine else "toString(argMin(outcome, stored_at))"
        content = "toUInt64(0)" if quarantine else "argMin(content_hash, stored_at)"
        rows = client.query(
            f"SELECT position, {outcome}, argMin(identity, stored_at), {content} FROM {_known(table)}"
            f" WHERE topic = {{topic:String}} AND {condition} AND position NOT IN"
            f" (SELECT position FROM ledger_rows WHERE topic = {{topic:String}} AND {condition})"
            " GROUP BY position",
            parameters=parameters,
        ).result_rows
        found.update({row[0]: Orphan(table, *row) for row in rows})
    return found


def stored_payments(client: Client, identities: Iterable[int]) -> list[dict[str, Any]]:
    """All stored versions of payments, every column of `payment_versions`, by identity and position.

    Times are aware UTC datetimes, decimals `Decimal`.
    """
    return _versions(client, "payment_versions", identities, "")


def stored_reads(
    client: Client, identities: Iterable[int], device_ids: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """All stored versions of reads, by identity and position; naming the devices makes it cheaper."""
    if device_ids is None:
        return _versions(client, "read_versions", identities, "")
    return _versions(
        client,
        "read_versions",
        identities,
        " AND device_id IN {devices:Array(String)}",
        {"devices": sorted(set(device_ids))},
    )


def _versions(
    client: Client,
    table: str,
    identities: Iterable[int],
    condition: str,
    parameters: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    wanted = sorted(set(identities))
    if not wanted:
        return []
    found = _arrow(
        client,
        f"SELECT {', '.join(SCHEMAS[table].names)} FROM {table}"
        f" WHERE identity IN {{identities:Array(UInt64)}}{condition}"
        " ORDER BY identity, position, stored_at LIMIT 1 BY identity, content_hash",
        {"identities": wanted, **(parameters or {})},
    )
    rows: list[dict[str, Any]] = found.cast(SCHEMAS[table]).to_pylist(maps_as_pydicts="strict")
    return rows


def epoch_for(client: Client, topic: str, topic_id: str) -> int:
    """Epoch of a topic id: its place in the order in which the topic's ids were first seen, from 0.

    Two workers that register the same id at once both read the same answer afterwards, because the
    order, not the number a worker proposed, is the epoch.

    Raises:
        OverflowError: the topic was re-created more than 255 times.
    """
    known = _epochs(client, topic)
    if topic_id not in known:
        client.command(
            "INSERT INTO topic_epochs (topic, topic_id, epoch)"
            " SELECT {topic:String}, {topic_id:String}, {epoch:UInt8}",
            parameters={"topic": topic, "topic_id": topic_id, "epoch": min(len(known), 255)},
        )
        known = _epochs(client, topic)
    epoch = known.index(topic_id)
    if epoch > 255:
        raise OverflowError(f"topic {topic} was re-created more than 255 times")
    return epoch


def _epochs(client: Client, topic: str) -> list[str]:
    rows = client.query(
        "SELECT topic_id FROM topic_epochs WHERE topic = {topic:String}"
        " GROUP BY topic_id ORDER BY min(first_seen), topic_id",
        parameters={"topic": topic},
    ).result_rows
    return [row[0] for row in rows]


def _partition(topic: str, epoch: int, partition: int) -> dict[str, Any]:
    """Parameters `topic`, `first` and `last` for all positions of a partition."""
    return {
        "topic": topic,
        "first": position(epoch, partition, 0),
        "last": position(epoch, partition, (1 << 40) - 1),
    }


def _known(table: str) -> str:
    if table not in _FACTS:
        raise ValueError(f"no fact table: {table}")
    return table


def _arrow(client: Client, sql: str, parameters: dict[str, Any]) -> pa.Table:
    """A result as an Arrow table: columns, no Python object per value."""
    data = client.raw_query(
        sql,
        parameters=parameters,
        settings={"output_format_arrow_string_as_string": 1, "output_format_arrow_low_cardinality_as_dictionary": 0},
        fmt="ArrowStream",
    )
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
