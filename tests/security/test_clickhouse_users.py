"""The users of deploy/clickhouse, tried out in the engine: what each may see and do, row by row."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sinks.migrate import migrations

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "clickhouse"
USERS = ElementTree.parse(DEPLOY / "users.d" / "sunledger.xml").getroot()
SERVER = ElementTree.parse(DEPLOY / "config.d" / "sunledger.xml").getroot()
EXAMPLE = ElementTree.parse(DEPLOY / "organization-analyst.example.xml").getroot()
EXAMPLE_ID = "org_00000000000000000000000000"
TABLES = sorted(
    table
    for migration in migrations()
    for table in re.findall(r"^CREATE TABLE IF NOT EXISTS \{database\}\.(\w+)", migration.text, re.MULTILINE)
)
ROWS = {
    "organization_versions": {"id": "'{org}'", "name": "'{org}'", "version": "1"},
    "project_versions": {"id": "'{org}-prj'", "organization_id": "'{org}'", "version": "1"},
    "device_versions": {"id": "'{org}-dev'", "organization_id": "'{org}'", "external_id": "'D1'",
                        "project_id": "'{org}-prj'", "version": "1"},
    "connection_versions": {"id": "'{org}-con'", "organization_id": "'{org}'", "project_id": "'{org}-prj'",
                            "external_id": "'M1'", "device_id": "'{org}-dev'", "version": "1"},
    "dataset_versions": {"id": "'{org}-ds'", "organization_id": "'{org}'", "version": "1"},
    "payment_versions": {"organization_id": "'{org}'", "id": "'P1'", "meter_id": "'m1'",
                         "external_id": "'M2'", "identity": "{number}", "content_hash": "{number}",
                         "position": "{number}",
                         "payment_amount": "5", "payment_currency": "'NGN'", "outcome": "'accepted'",
                         "timestamp": "now64(3)"},
    "read_versions": {"organization_id": "'{org}'", "device_external_id": "'D1'", "identity": "{number}",
                      "content_hash": "{number}", "position": "{number}", "outcome": "'accepted'"},
    "ledger_rows": {"organization_id": "'{org}'", "record_type": "'payment'", "topic": "'payments'",
                    "position": "{number}", "outcome": "'accepted'"},
    "quarantine_rows": {"organization_id": "'{org}'", "topic": "'payments'", "position": "{number}",
                        "record_type": "'payment'"},
}  # fmt: skip
"""Rows of two organisations, in the columns that the views join by."""


class Engine:
    """A folder of the engine; each call is a process of its own under one user's definition."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.run(None, self._ddl())
        for number, org in enumerate(("org_a", "org_b"), start=1):
            for answer in self.run(None, [self._insert(table, org, number) for table in ROWS]):
                assert answer == (True, ""), answer

    def run(self, user: ElementTree.Element | None, statements: Sequence[str]) -> list[tuple[bool, str]]:
        """Answers to statements as a user of the files; None is the one who makes the tables."""
        config = self._folder / "config.xml"
        users = self._folder / "users.xml"
        server = copy.deepcopy(SERVER)
        ElementTree.SubElement(server, "users_config").text = str(users)
        config.write_bytes(ElementTree.tostring(server))
        users.write_bytes(ElementTree.tostring(_users(user)))
        given = {"folder": str(self._folder / "data"), "config": str(config), "statements": list(statements)}
        child = subprocess.run(
            [sys.executable, Path(__file__).with_name("engine.py")],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        return [(ok, text.strip()) for ok, text in json.loads(child.stdout)]

    @staticmethod
    def _ddl() -> list[str]:
        made = ["CREATE DATABASE sunledger"]
        return made + [text for migration in migrations() for text in migration.statements("sunledger")]

    @staticmethod
    def _insert(table: str, org: str, number: int) -> str:
        columns = {name: value.format(org=org, number=number) for name, value in ROWS[table].items()}
        return f"INSERT INTO sunledger.{table} ({', '.join(columns)}) SELECT {', '.join(columns.values())}"


def _users(user: ElementTree.Element | None) -> ElementTree.Element:
    """users.xml in which `default` is that user, and `sunledger` makes the views."""
    made = copy.deepcopy(USERS)
    profile = made.find("profiles/default")
    assert profile is not None
    ElementTree.SubElement(profile, "default_view_definer").text = "sunledger"
    quotas = made.find("quotas")
    assert quotas is not None
    ElementTree.SubElement(quotas, "default")
    found = made.find("users")
    assert found is not None
    found.clear()
    for name, definition in (("default", user), ("sunledger", None)):
        one = ElementTree.SubElement(found, name)
        ElementTree.SubElement(one, "password")
        given = definition if definition is not None else _all_powerful()
        one.extend([copy.deepcopy(part) for part in given if part.tag != "password"])
    return made


def _all_powerful() -> ElementTree.Element:
    return ElementTree.fromstring(
        "<u><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
        "<access_management>1</access_management></u>"
    )


def _named(name: str) -> ElementTree.Element:
    found = USERS.find(f"users/{name}")
    assert found is not None
    return found


def _organizations_analyst(org: str) -> ElementTree.Element:
    """The example's user for this organisation."""
    text = ElementTree.tostring(EXAMPLE, encoding="unicode").replace(EXAMPLE_ID, org)
    found = ElementTree.fromstring(text).find("users/analyst_organization")
    assert found is not None
    return found


def _granted(user: ElementTree.Element, right: str) -> set[str]:
    start = f"GRANT {right} ON sunledger."
    texts = [query.text or "" for query in user.iter("query")]
    return {text.removeprefix(start) for text in texts if text.startswith(start)}


VIEWS = sorted(_granted(_named("analyst"), "SELECT"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """All tables and views, made as in the deployment, with rows of two organisations."""
    return Engine(tmp_path_factory.mktemp("users"))


def _called(view: str) -> str:
    """The view in a statement; one that asks for a moment is given one when everything is known."""
    return f"sunledger.{view}" + ("(at = '2299-01-01 00:00:00')" if view.endswith("_as_known") else "")


def _owner(view: str) -> str:
    return "id" if view == "organizations" else "organization_id"


def test_an_analyst_reads_every_view_and_nothing_under_them(engine: Engine) -> None:
    """The views answer with rows of both organisations; the tables, and any change, are refused."""
    analyst = _named("analyst")
    counts = engine.run(analyst, [f"SELECT uniqExact({_owner(v)}) FROM {_called(v)}" for v in VIEWS])
    found = dict(zip(VIEWS, counts, strict=True))
    assert all(ok for ok, _ in counts), found
    filled = {view for view, (_, count) in found.items() if count == "2"}
    assert filled >= set(VIEWS) - {"conflicts", "match_hints"}, found
    refused = [
        *[f"SELECT 1 FROM sunledger.{table} LIMIT 1" for table in TABLES],
        "INSERT INTO sunledger.decisions (identity) SELECT 1",
        "ALTER TABLE sunledger.ledger_rows DELETE WHERE 1",
        "DROP TABLE sunledger.ledger_rows",
        "CREATE TABLE sunledger.mine (a Int8) ENGINE = Memory",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM file('/etc/passwd', 'CSV', 'a String')",
        "SET readonly = 0",
        "SET max_execution_time = 0",
        "SET max_execution_time = 301",
        "SET max_memory_usage = 0",
    ]
    answers = zip(refused, engine.run(analyst, refused), strict=True)
    assert [statement for statement, (ok, _) in answers if ok] == []


def test_an_organisations_analyst_sees_its_rows_only(engine: Engine) -> None:
    """Every granted view is filtered by a row policy: rows of one organisation, none of the other."""
    example = _organizations_analyst("org_a")
    granted = _granted(example, "SELECT")
    assert granted == set(VIEWS)
    assert {view.tag for view in example.find("databases/sunledger") or ()} == granted
    asked = [f"SELECT groupUniqArray({_owner(view)}) FROM {_called(view)}" for view in VIEWS]
    answers = dict(zip(VIEWS, engine.run(example, asked), strict=True))
    assert all(ok and text in ("['org_a']", "[]") for ok, text in answers.values()), answers
    assert {view for view, (_, text) in answers.items() if text == "[]"} <= {"conflicts", "match_hints"}
    tricks = [
        "SELECT count() FROM sunledger.payment_versions",
        "SELECT count() FROM sunledger.payments WHERE organization_id = 'org_b' OR 1",
        "SELECT count() FROM (SELECT * FROM sunledger.organizations UNION ALL SELECT * FROM"
        " sunledger.organizations) WHERE id = 'org_b'",
    ]
    assert [ok and text != "0" for ok, text in engine.run(example, tricks)] == [False, True, False]
    assert engine.run(example, tricks[1:2]) == [(True, "1")]


def test_every_table_says_who_may_write_it() -> None:
    """The worker writes what rows become, the API what people decide; a new table belongs to somebody."""
    worker, api = _granted(_named("worker"), "INSERT"), _granted(_named("api"), "INSERT")
    assert api == {"decisions", "quarantine_actions"}
    assert worker | api == set(TABLES)


@pytest.mark.parametrize("name", ["worker", "api"])
def test_processes_write_their_tables_and_change_none(engine: Engine, name: str) -> None:
    """SELECT everywhere, INSERT where it is granted, and no statement of a database's owner."""
    user = _named(name)
    writes = _granted(user, "INSERT")
    inserts = [f"INSERT INTO sunledger.{table} SELECT * FROM sunledger.{table} LIMIT 0" for table in TABLES]
    answers = dict(zip(TABLES, engine.run(user, inserts), strict=True))
    assert {table for table, (ok, _) in answers.items() if ok} == writes, answers
    assert engine.run(user, ["SELECT count() FROM sunledger.ledger_rows"])[0][0]
    refused = [
        "ALTER TABLE sunledger.ledger_rows DELETE WHERE 1",
        "TRUNCATE TABLE sunledger.ledger_rows",
        "DROP TABLE sunledger.ledger_rows",
        "DROP DATABASE sunledger",
        "CREATE DATABASE mine",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1:1', 'a', 'b')",
        "SELECT * FROM file('/etc/passwd', 'CSV', 'a String')",
        "INSERT INTO sunledger.schema_migrations (name) SELECT 'x'",
    ]
    found = zip(refused, engine.run(user, refused), strict=True)
    assert [statement for statement, (ok, _) in found if ok] == []
