"""Arrow schemas of the base tables, and batches built from columns.

The DDL is the definition analysts see; a test holds these schemas to it. Columns the server fills in
(`stored_at`, `known_at`, `first_wins`, `first_seen`) are left out: one clock, the server's, orders rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from sinks.errors import Refused

TEXT: Final = pa.string()
U8: Final = pa.uint8()
U16: Final = pa.uint16()
U32: Final = pa.uint32()
U64: Final = pa.uint64()
I64: Final = pa.int64()
F64: Final = pa.float64()
BOOL: Final = pa.bool_()
TEXTS: Final = pa.list_(TEXT)
HASHES: Final = pa.list_(U64)
TIME: Final = pa.timestamp("ms", tz="UTC")
MONEY: Final = pa.decimal128(38, 9)
ENERGY: Final = pa.decimal128(38, 6)


def _schema(required: Mapping[str, pa.DataType], nullable: Mapping[str, pa.DataType]) -> pa.Schema:
    """A schema of columns that may not be null, then of those that may."""
    fields = [pa.field(name, kind, nullable=False) for name, kind in required.items()]
    return pa.schema(fields + [pa.field(name, kind, nullable=True) for name, kind in nullable.items()])


_LINEAGE: Final = {
    "dataset_id": TEXT,
    "source": TEXT,
    "source_ref": TEXT,
    "line": U32,
    "topic": TEXT,
    "partition": U16,
    "offset": U64,
    "received_at": TIME,
}
_REPLAY: Final = {"replay_of": U64}
_VERSION: Final = {"identity": U64, "content_hash": U64, "position": U64, "outcome": TEXT, "home": U16}
_PAYMENT_TEXTS: Final = (
    "id_namespace",
    "id",
    "payment_currency",
    "currency_given",
    "transaction_type",
    "reference_id",
    "customer_id",
    "meter_id",
    "external_id",
    "customer_name",
    "customer_phone",
    "customer_category",
    "financing_id",
    "agent_id",
    "utility_id",
    "account_type",
    "status",
    "notes",
    "location",
    "payment_source",
    "source_field",
)
_REGISTRY: Final = {"id": TEXT, "number": U64, "version": U64, "archived": BOOL, "changed_at": TIME}

SCHEMAS: Final[dict[str, pa.Schema]] = {
    "payment_versions": _schema(
        {
            "organization_id": TEXT,
            **_VERSION,
            **dict.fromkeys(_PAYMENT_TEXTS, TEXT),
            "timestamp": TIME,
            "payment_amount": MONEY,
            "custom": pa.map_(TEXT, TEXT),
            "supplied": TEXTS,
            **_LINEAGE,
        },
        {
            "transaction_charges": MONEY,
            "latitude": F64,
            "longitude": F64,
            "failed_battery_capacity_count": U32,
            **_REPLAY,
        },
    ),
    "payment_keys": _schema(
        {
            "home": U16,
            "identity": U64,
            "content_hash": U64,
            "position": U64,
            "outcome": TEXT,
            "alias_of": U64,
        },
        {},
    ),
    "read_versions": _schema(
        {
            "organization_id": TEXT,
            "device_id": TEXT,
            "device_external_id": TEXT,
            "type": TEXT,
            "end": TIME,
            "value_wh": ENERGY,
            "raw_value": MONEY,
            "raw_unit": TEXT,
            **_VERSION,
            **_LINEAGE,
        },
        {"start": TIME, **_REPLAY},
    ),
    "ledger_rows": _schema(
        {
            "organization_id": TEXT,
            "position": U64,
            "record_type": TEXT,
            "record_id": TEXT,
            "identity": U64,
            "content_hash": U64,
            "outcome": TEXT,
            "reasons": TEXTS,
            **_LINEAGE,
            "matched_connection_id": TEXT,
        },
        _REPLAY,
    ),
    "ledger_ranges": _schema(
        {
            "topic": TEXT,
            "epoch": U8,
            "partition": U16,
            "first_offset": U64,
            "next_offset": U64,
            "rows": U64,
            "forwarded": U64,
            "lost": U64,
            "generation": I64,
            "worker": TEXT,
            "copies": HASHES,
            "markers": HASHES,
        },
        {},
    ),
    "attempts": _schema(
        {"topic": TEXT, "epoch": U8, "partition": U16, "offset": U64, "kind": TEXT, "worker": TEXT}, {}
    ),
    "quarantine_rows": _schema(
        {
            "organization_id": TEXT,
            "position": U64,
            "record_type": TEXT,
            "record_id": TEXT,
            "identity": U64,
            "reasons": TEXTS,
            "details": TEXT,
            "missing_kind": TEXT,
            "missing_id": TEXT,
            "sealed": TEXT,
            **_LINEAGE,
        },
        _REPLAY,
    ),
    "quarantine_actions": _schema(
        {
            "topic": TEXT,
            "position": U64,
            "organization_id": TEXT,
            "action": TEXT,
            "changed": BOOL,
            "claim_id": TEXT,
            "done_by": TEXT,
            "reason": TEXT,
        },
        {},
    ),
    "decisions": _schema(
        {
            "decision_id": TEXT,
            "organization_id": TEXT,
            "record_type": TEXT,
            "identity": U64,
            "decision": TEXT,
            "selected": HASHES,
            "known": HASHES,
            "decided_by": TEXT,
            "rule": TEXT,
            "decided_at": TIME,
        },
        {},
    ),
    "organization_versions": _schema({**_REGISTRY, "name": TEXT}, {}),
    "project_versions": _schema(
        {**_REGISTRY, "organization_id": TEXT, "name": TEXT, "country": TEXT, "programme_ids": TEXTS}, {}
    ),
    "device_versions": _schema(
        {
            **_REGISTRY,
            "organization_id": TEXT,
            "project_id": TEXT,
            "external_id": TEXT,
            "manufacturer": TEXT,
            "serial_number": TEXT,
        },
        {"capacity_kw": F64, "commissioned_on": pa.date32(), "onboarded_at": TIME},
    ),
    "connection_versions": _schema(
        {
            **_REGISTRY,
            "organization_id": TEXT,
            "project_id": TEXT,
            "external_id": TEXT,
            "customer_external_id": TEXT,
            "device_id": TEXT,
        },
        {"valid_from": TIME, "valid_to": TIME},
    ),
    "dataset_versions": _schema(
        {
            **_REGISTRY,
            "organization_id": TEXT,
            "name": TEXT,
            "provider": TEXT,
            "source": TEXT,
            "type": TEXT,
            "target": TEXT,
            "project_ids": TEXTS,
            "programme_id": TEXT,
            "id_namespace": TEXT,
            "conflict_rule": TEXT,
            "default_currency": TEXT,
            "schedule": TEXT,
            "state": TEXT,
            "profile": TEXT,
        },
        {},
    ),
}
"""Arrow schema of every table the worker writes."""


def batch(table: str, columns: Mapping[str, Sequence[Any] | pa.Array]) -> pa.RecordBatch:
    """A record batch for a table, from columns of equal length; columns left out take their defaults.

    Times must be aware UTC datetimes or integers (milliseconds since 1970), decimals `Decimal`.

    Raises:
        Refused: a value does not fit its column, a column is unknown, or lengths differ.
    """
    schema = SCHEMAS[table]
    unknown = columns.keys() - set(schema.names)
    if unknown:
        raise Refused(f"{table} has no column {', '.join(sorted(unknown))}")
    used = pa.schema([field for field in schema if field.name in columns])
    try:
        arrays = [_array(columns[field.name], field.type) for field in used]
        return pa.RecordBatch.from_arrays(arrays, schema=used)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as exc:
        raise Refused(f"rows do not fit {table}: {type(exc).__name__}") from None


def batch_of_rows(table: str, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """A record batch from rows; every row must have the keys of the first one."""
    names = list(rows[0]) if rows else []
    return batch(table, {name: [row[name] for row in rows] for name in names})


def _array(values: Sequence[Any] | pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values if values.type == kind else values.cast(kind)
    return pa.array(values, type=kind)
