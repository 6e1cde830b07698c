"""Rows judged by a worker's steps, without its process: quick to make, and as true as the real thing."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sinks.client import factory
from sinks.tables import batch_of_rows
from sinks.writer import Writer
from tests.conftest import ClickHouse
from tests.streams.world import ORG, World, register

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def judge(
    clickhouse: ClickHouse, *rows: Mapping[str, Any] | bytes, kind: str = "payments", **headers: str
) -> None:
    """Judge rows, one turn each, after those judged before; device D1 and dataset ds_1 are known."""
    done = clickhouse.value(
        "SELECT toUInt64(max(next_offset)) FROM ledger_ranges WHERE topic = {kind:String}", kind=kind
    )
    begin = int(str(done))
    world = World(clickhouse, kind)
    register(world.registry, "devices", {"id": "dev_1", "external_id": "D1"})
    register(world.registry, "datasets", {"id": "ds_1", "project_ids": ["prj_1"]})
    world.restore({0: begin} if begin else None)
    for offset, row in enumerate(rows, begin):
        world.turn(world.batch([row], offset, **headers))


def judge_at_once(clickhouse: ClickHouse, rows: Sequence[Mapping[str, Any]]) -> None:
    """Judge rows in one turn, the first ones of an empty store."""
    world = World(clickhouse).restore()
    world.turn(world.batch(rows))


async def judged(clickhouse: ClickHouse, *rows: Mapping[str, Any] | bytes, **more: Any) -> None:
    """The same, beside the loop."""
    await asyncio.to_thread(judge, clickhouse, *rows, **more)


def store(clickhouse: ClickHouse, table: str, *rows: Mapping[str, Any]) -> None:
    """Insert rows as they are."""
    writer = Writer(factory(clickhouse.url, database=clickhouse.database), clickhouse.database)
    writer.insert(table, batch_of_rows(table, rows))
    writer.close()


def connect_meter(clickhouse: ClickHouse, external_id: str, id: str = "con_1", **more: Any) -> None:
    """A connection of the organisation, as the views see it."""
    row = {
        "id": id, "number": 1, "version": 1, "archived": False, "changed_at": EPOCH,
        "organization_id": ORG, "project_id": "prj_1", "external_id": external_id,
        "customer_external_id": "", "device_id": "", "valid_from": None, "valid_to": None, **more,
    }  # fmt: skip
    store(clickhouse, "connection_versions", row)
