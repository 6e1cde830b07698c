"""Short ways to fill a store with rows that have sensible defaults."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.identity import hash64, payment_key
from sinks.client import connect, factory
from sinks.migrate import migrate
from sinks.tables import SCHEMAS, batch_of_rows
from sinks.writer import Writer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
numbers = itertools.count(1)


class Store:
    """A migrated database with short ways to fill it; rows get sensible defaults."""

    def __init__(self, url: str, database: str) -> None:
        self.url = url
        self.database = database
        with connect(url) as client:
            migrate(client, database)
        self.client = connect(url, database=database)
        self.writer = Writer(factory(url, database=database), database)

    def close(self) -> None:
        """Drop the database and the connections."""
        self.client.command(f"DROP DATABASE {self.database}")
        self.client.close()
        self.writer.close()

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""
        return list(self.client.query(sql, parameters=parameters).named_results())

    def put(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows; columns left out are empty."""
        names = {name for row in rows for name in row}
        defaults = {
            f.name: default(f.name, str(f.type), f.nullable) for f in SCHEMAS[table] if f.name in names
        }
        self.writer.insert(table, batch_of_rows(table, [{**defaults, **row} for row in rows]))

    def organization(self, *ids: str) -> None:
        """Organisations."""
        self.put("organization_versions", *[registry(id=i, name=i) for i in ids])

    def project(self, id: str, organization: str = "org_a", programmes: list[str] | None = None) -> None:
        """A project."""
        self.put(
            "project_versions",
            registry(id=id, organization_id=organization, programme_ids=programmes or []),
        )

    def connection(
        self, id: str, external_id: str, project: str = "prj_a", organization: str = "org_a", **more: Any
    ) -> None:
        """A connection."""
        self.put(
            "connection_versions",
            registry(
                id=id, external_id=external_id, project_id=project, organization_id=organization, **more
            ),
        )

    def device(
        self, id: str, external_id: str, project: str = "prj_a", organization: str = "org_a", **more: Any
    ) -> None:
        """A device."""
        self.put(
            "device_versions",
            registry(
                id=id, external_id=external_id, project_id=project, organization_id=organization, **more
            ),
        )

    def dataset(self, id: str, organization: str = "org_a", **more: Any) -> None:
        """A dataset."""
        self.put("dataset_versions", registry(id=id, organization_id=organization, **more))

    def pay(self, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        """Store payments made by `payment`, and their keys; returns them."""
        self.put("payment_versions", *rows)
        names = ("home", "identity", "content_hash", "position", "outcome")
        self.put("payment_keys", *[{name: row[name] for name in names} for row in rows])
        return list(rows)

    def decide(self, row: dict[str, Any], decision: str, **more: Any) -> None:
        """Append a decision about the payment or read of a row."""
        number = next(numbers)
        self.put(
            "decisions",
            {
                "decision_id": f"dec_{number:026}",
                "organization_id": row["organization_id"],
                "record_type": "payment",
                "identity": row["identity"],
                "decision": decision,
                "selected": [],
                "known": [],
                "decided_by": "usr_1",
                "decided_at": NOON + timedelta(seconds=number),
                **more,
            },
        )


def default(name: str, kind: str, nullable: bool) -> Any:
    """An empty value for a column."""
    if nullable:
        return None
    if kind.startswith("timestamp"):
        return NOON
    if kind.startswith(("list", "map")):
        return []
    if kind.startswith("decimal"):
        return Decimal(0)
    return {"string": "", "bool": False}.get(kind, 0)


def registry(**fields: Any) -> dict[str, Any]:
    """A registry object in its first version, unless `version` says otherwise."""
    return {"number": 1, "version": 1, "archived": False, "changed_at": NOON, **fields}


def payment(**fields: Any) -> dict[str, Any]:
    """A payment version: 10 NGN for meter M1 of org_a at noon, in full, as a first version."""
    position = next(numbers)
    row: dict[str, Any] = {
        "organization_id": "org_a",
        "id_namespace": "",
        "id": f"P{position}",
        "timestamp": NOON,
        "payment_amount": Decimal(10),
        "payment_currency": "NGN",
        "currency_given": "NGN",
        "transaction_type": "FULL_PAYMENT",
        "transaction_charges": None,
        "reference_id": "",
        "customer_id": "C1",
        "meter_id": "M1",
        "external_id": "",
        "customer_category": "",
        "latitude": None,
        "longitude": None,
        "status": "",
        "notes": "",
        "custom": {},
        "supplied": ["ID", "TIMESTAMP", "PAYMENT_AMOUNT", "PAYMENT_CURRENCY", "METER_ID"],
        "dataset_id": "",
        "source_ref": "file",
        "line": position,
        "topic": "payments",
        "position": position,
        "offset": position,
        "outcome": "accepted",
        "home": 0,
        **fields,
    }
    row.setdefault("identity", hash64(payment_key(row["organization_id"], row["id_namespace"], row["id"])))
    row.setdefault("content_hash", position)
    return row


def read(end: datetime, value_wh: int, **fields: Any) -> dict[str, Any]:
    """A register value of device dev_a at a time."""
    position = next(numbers)
    row: dict[str, Any] = {
        "organization_id": "org_a",
        "device_id": "dev_a",
        "device_external_id": "D1",
        "type": "Aggregate",
        "start": None,
        "end": end,
        "value_wh": Decimal(value_wh),
        "raw_value": Decimal(value_wh) / 1000,
        "raw_unit": "kWh",
        "content_hash": position,
        "position": position,
        "offset": position,
        "outcome": "accepted",
        "home": 0,
        "topic": "reads",
        **fields,
    }
    row.setdefault("identity", hash64(f"{row['device_id']} {row['type']} {row['start']} {row['end']}"))
    return row


def ledger_row(**fields: Any) -> dict[str, Any]:
    """A ledger row: an accepted payment of org_a."""
    position = next(numbers)
    return {
        "organization_id": "org_a",
        "record_type": "payment",
        "record_id": "P1",
        "identity": 1,
        "outcome": "accepted",
        "reasons": [],
        "dataset_id": "ds_a",
        "source_ref": "file",
        "line": position,
        "topic": "payments",
        "position": position,
        "offset": position,
        "replay_of": None,
        **fields,
    }
