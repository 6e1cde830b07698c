"""DDL: applied once, in order, never edited; every column is explained."""

import re
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from sinks_helpers import Store, numbers

from sinks.client import connect
from sinks.known_views import with_present
from sinks.migrate import DDL_FOLDER, ChangedMigrationError, applied_migrations, migrate, migrations
from sinks.queries import pending_migrations
from sinks.tables import SCHEMAS


def test_missing_files_are_applied_in_order_and_once(clickhouse_url: str) -> None:
    """A fresh database gets every file; a second run has nothing to do."""
    database = f"fresh-{next(numbers)}"
    with connect(clickhouse_url) as client:
        names = [migration.name for migration in migrations()]
        assert migrate(client, database) == names == sorted(names)
        assert migrate(client, database) == []
        assert pending_migrations(client, database) == []
        client.command(f"DROP DATABASE `{database}`")


def test_a_database_that_has_everything_is_only_read(
    clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker or API whose user may change no table starts on a migrated database."""
    database = f"whole-{next(numbers)}"
    with connect(clickhouse_url) as client:
        migrate(client, database)
        commands: list[str] = []
        monkeypatch.setattr(client, "command", lambda text, **_: commands.append(text))
        assert migrate(client, database) == []
        assert commands == []
        monkeypatch.undo()
        client.command(f"DROP DATABASE `{database}`")


def test_a_changed_file_is_an_error_that_names_it(clickhouse_url: str, tmp_path: Path) -> None:
    """History is not edited: a file with other content than the applied one stops the migration."""
    file = tmp_path / "0001_a.sql"
    file.write_text("CREATE TABLE IF NOT EXISTS {database}.a (x UInt8) ENGINE = Memory;\n")
    with connect(clickhouse_url) as client:
        migrate(client, "changed", tmp_path)
        file.write_text("CREATE TABLE IF NOT EXISTS {database}.a (x UInt16) ENGINE = Memory;\n")
        (tmp_path / "0002_b.sql").write_text("CREATE TABLE {database}.b (x UInt8) ENGINE = Memory;\n")
        with pytest.raises(ChangedMigrationError, match=r"0001_a\.sql"):
            migrate(client, "changed", tmp_path)
        assert list(applied_migrations(client, "changed")) == ["0001_a.sql"]
        client.command("DROP DATABASE changed")


def test_two_processes_may_start_at_once(clickhouse_url: str) -> None:
    """Both migrate the same empty database; both end well and nothing is pending."""
    faults: list[Exception] = []
    barrier = threading.Barrier(2)

    def start() -> None:
        try:
            with connect(clickhouse_url) as client:
                barrier.wait()
                migrate(client, "raced")
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test shows it
            faults.append(exc)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with connect(clickhouse_url) as client:
        assert pending_migrations(client, "raced") == []
        assert migrate(client, "raced") == []
        client.command("DROP DATABASE raced")


def test_a_view_of_a_moment_makes_the_view_of_the_present() -> None:
    """One text for both; what has no present is refused, and other statements stay as they are."""
    moment = (
        "-- New.\nCREATE OR REPLACE VIEW {database}.a_as_known\n(\n    x UInt8 COMMENT 'X'\n)\nAS SELECT x\n"
        "FROM {database}.b_as_known(at = {at:DateTime64(3, 'UTC')})\n"
        "WHERE stored_at <= {at:DateTime64(3, 'UTC')}\nCOMMENT 'Newest. As known at the moment `at`'"
    )
    present = (
        "-- New.\nCREATE OR REPLACE VIEW {database}.a\n(\n    x UInt8 COMMENT 'X'\n)\nAS SELECT x\n"
        "FROM {database}.b\nWHERE true\nCOMMENT 'Newest'"
    )
    assert with_present(moment) == [moment, present]
    assert with_present(present) == [present]
    with pytest.raises(ValueError, match="no view of the present"):
        with_present(moment.replace("stored_at", "decided_at"))


def test_every_table_and_column_has_a_comment(store: Store) -> None:
    """Analysts see unit and source of every column, of views too."""
    bare = store.rows(
        "SELECT table, name FROM system.columns WHERE database = {db:String} AND comment = ''",
        db=store.database,
    )
    assert bare == []
    named = store.rows(
        "SELECT name FROM system.tables WHERE database = {db:String} AND comment = ''", db=store.database
    )
    assert named == []


def test_views_give_the_types_they_declare(store: Store) -> None:
    """A view's column list is a promise; the select behind it keeps it."""
    views = store.rows(
        "SELECT name FROM system.tables WHERE database = {db:String} AND engine = 'View'"
        " AND name NOT LIKE '%\\_as\\_known'",
        db=store.database,
    )
    assert len(views) > 12
    for view in [row["name"] for row in views]:
        declared = store.rows(
            "SELECT name, type FROM system.columns WHERE database = {db:String} AND table = {view:String}",
            db=store.database,
            view=view,
        )
        given = store.client.query(f"SELECT * FROM {view} LIMIT 0")
        actual = dict(
            zip(given.column_names, [kind.name.replace("`", "") for kind in given.column_types], strict=True)
        )
        assert {row["name"]: row["type"] for row in declared} == actual, view


def test_every_view_can_be_filtered_by_its_flags(store: Store) -> None:
    """A flag alone as the condition: a planner that pushes it down must not lose the column."""
    flags = store.rows(
        "SELECT table, name FROM system.columns WHERE database = {db:String} AND type = 'Bool'"
        " AND table IN (SELECT name FROM system.tables WHERE database = {db:String} AND engine = 'View')",
        db=store.database,
    )
    assert {"counted", "reversed", "verified", "open", "archived"} <= {row["name"] for row in flags}
    for view, flag in [(row["table"], row["name"]) for row in flags]:
        for condition in (flag, f"NOT {flag}", f"{flag} AND organization_id != ''"):
            if view != "organizations":
                store.rows(f"SELECT * FROM {view} WHERE {condition}")
                store.rows(f"SELECT count() AS n FROM {view} WHERE {condition}")


def test_views_may_be_asked_by_a_user_who_may_only_read(store: Store) -> None:
    """Settings inside a view need no right to change settings."""
    with connect(store.url, database=store.database, settings={"readonly": 1}) as client:
        views = client.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'"
        ).result_rows
        for (view,) in views:
            moment = "(at = '2026-06-30 23:59:59.999')" if view.endswith("_as_known") else ""
            client.query(f"SELECT * FROM {view}{moment}")


def test_no_table_is_partitioned_by_time() -> None:
    """One file with 101 months in it would be refused for ever (error 252)."""
    for migration in migrations():
        for clause in re.findall(r"^PARTITION BY (.*)", migration.text, re.MULTILINE):
            assert re.fullmatch(r"(identity|sipHash64\(device_id\)) % [48]", clause)


def test_the_names_that_stay(store: Store) -> None:
    """Clients rely on these views and columns."""
    promised = {
        "ledger": "organization_id record_type record_id content_hash outcome reasons dataset_id source"
        " source_ref line topic partition offset received_at stored_at",
        "payments": "id timestamp payment_amount payment_currency transaction_type transaction_charges"
        " reference_id customer_id meter_id external_id customer_name customer_phone customer_category"
        " financing_id agent_id latitude longitude utility_id failed_battery_capacity_count account_type"
        " status notes location payment_source organization_id connection_id dataset_id source source_ref"
        " line topic partition offset received_at stored_at",
        "reads": "device_id device_external_id type start end value_wh raw_value raw_unit dataset_id source"
        " source_ref line topic partition offset received_at stored_at energy_wh",
        "verification": "organization_id project_id connection_id external_id verified payments"
        " first_payment last_payment totals energy_wh",
        "conflicts": "organization_id record_type record_id versions differing_fields open",
        "quarantine": "organization_id record_type record_id reasons state topic partition offset",
    }
    for view, names in promised.items():
        missing = set(names.split()) - set(store.client.query(f"SELECT * FROM {view} LIMIT 0").column_names)
        assert not missing, view


_ARROW = {
    "String": "string",
    "Bool": "bool",
    "Float64": "double",
    "Date32": "date32[day]",
    "DateTime64(3, 'UTC')": "timestamp[ms, tz=UTC]",
    "Decimal(38, 9)": "decimal128(38, 9)",
    "Decimal(38, 6)": "decimal128(38, 6)",
    "Map(String, String)": "map<string, string>",
    **{f"UInt{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "Int64": "int64",
}


def _arrow(kind: str) -> tuple[str, bool]:
    """Arrow type and nullability of a ClickHouse type."""
    inner = re.sub(r"LowCardinality\((\w+)\)", r"\1", kind)
    if found := re.fullmatch(r"Nullable\((.*)\)", inner):
        return _ARROW[found.group(1)], True
    if found := re.fullmatch(r"Array\((.*)\)", inner):
        return f"list<item: {_ARROW[found.group(1)]}>", False
    return _ARROW[inner], False


@pytest.mark.parametrize("table", sorted(SCHEMAS))
def test_arrow_schemas_are_those_of_the_tables(store: Store, table: str) -> None:
    """Names, types and nullability of a batch equal the table's, apart from what the server fills in."""
    columns = store.rows(
        "SELECT name, type, default_kind FROM system.columns"
        " WHERE database = {db:String} AND table = {table:String}",
        db=store.database,
        table=table,
    )
    ours = {row["name"]: _arrow(row["type"]) for row in columns if not row["default_kind"]}
    schema: pa.Schema = SCHEMAS[table]
    assert {f.name: (str(f.type), f.nullable) for f in schema} == ours


def test_files_are_numbered_without_gaps() -> None:
    """The number is the order."""
    numbers_used = [int(file.name[:4]) for file in sorted(DDL_FOLDER.glob("*.sql"))]
    assert numbers_used == list(range(1, len(numbers_used) + 1))
