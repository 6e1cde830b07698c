"""The compose file and what belongs to it, checked without Docker: form, pins, health, settings, secrets."""

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pydantic_settings import BaseSettings

from producers.kafka_rights import RIGHTS
from sunledger.cli import app
from sunledger.settings import (
    PREFIX,
    ApiSettings,
    MigrateSettings,
    ProducersSettings,
    SettingsFaults,
    VerifierSettings,
    WorkerSettings,
    load,
)

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS: dict[str, type[BaseSettings]] = {
    "migrate": MigrateSettings,
    "api": ApiSettings,
    "worker": WorkerSettings,
    "producers": ProducersSettings,
    "verifier": VerifierSettings,
}
PARTS = {"kafka", "clickhouse", "postgres", "valkey", "s3"}
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / "deploy" / "env.example").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OPTIONAL = {"GOOGLE_CREDENTIALS_FILE"}
"""Variables that an operator may leave empty."""
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)([^}]*)\}|\$([A-Z0-9_]+)")


def filled(value: Any) -> str:
    """A value as compose hands it over when .env is filled in, without what is optional."""

    def text(found: re.Match[str]) -> str:
        if found[1] in OPTIONAL:
            return ""
        return SECRET if found[1].endswith(("_SECRET", "_KEY")) else "x1"

    return VARIABLE.sub(text, str(value))


def test_every_service_is_there() -> None:
    """The parts of production and the processes of ours, no more."""
    assert set(SERVICES) == PARTS | set(SETTINGS)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """A version tag, or built here; what runs tomorrow is what runs today."""
    service = SERVICES[name]
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert re.search(r"\d", tag)
    if "build" in service:
        dockerfile = ROOT / service["build"]["dockerfile"]
        bases = re.findall(r"^FROM (\S+)", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
        assert bases
        assert all(re.search(r":\d+\.\d+\.\d+", base) for base in bases)


def test_kafka_is_the_version_that_is_tested_here() -> None:
    """The broker's image and the jar of the embedded stack are of one version."""
    lock = json.loads((ROOT / "sunledger" / "embedded" / "jars.lock.json").read_text(encoding="utf-8"))
    jar = next(
        a["coordinate"] for a in lock["kafka"] if a["coordinate"].startswith("org.apache.kafka:kafka_")
    )
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{jar.rpartition(':')[2]}"


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    """Compose knows whether it works; the one-shot service is judged by its end."""
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_services_come_back_and_wait_for_what_they_need(name: str) -> None:
    """A restart policy, and conditions that name services with a way to say they are ready."""
    service = SERVICES[name]
    assert service["restart"] == ("on-failure" if name == "migrate" else "unless-stopped")
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "on-failure"
        else:
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[other]
    if name in SETTINGS and name != "migrate":
        assert "migrate" in service["depends_on"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_bound_to_the_loopback_address(name: str) -> None:
    """Nothing of it is open to the network by itself."""
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", SETTINGS)
def test_variables_are_those_of_the_process(name: str) -> None:
    """Each variable is a field of the settings class of this process."""
    given = set(SERVICES[name]["environment"])
    known = {f"{PREFIX}{field.upper()}" for field in SETTINGS[name].model_fields}
    assert given - known == set()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_environment_makes_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With .env filled in the process finds every setting it requires, each of the right form."""
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, filled(value))
    try:
        load(SETTINGS[name])
    except SettingsFaults as faults:
        pytest.fail(str(faults))


@pytest.mark.parametrize("name", SETTINGS)
def test_each_process_runs_its_command(name: str) -> None:
    """The image's entry point is `sunledger`, and the service's command is one of its commands."""
    assert SERVICES[name]["command"] == [name]
    assert name in {command.callback.__name__ for command in app.registered_commands if command.callback}


OWN = {"KAFKA_USERNAME", "KAFKA_PASSWORD", "CLICKHOUSE_URL"}
"""Settings in which processes differ: each has users of its own."""


def test_processes_agree_on_what_they_share() -> None:
    """The same broker, store, database and secrets wherever a variable occurs."""
    seen: dict[str, str] = {}
    for name in SETTINGS:
        for variable, value in SERVICES[name]["environment"].items():
            if variable.removeprefix(PREFIX) not in OWN:
                assert seen.setdefault(variable, str(value)) == str(value), variable


def test_every_process_has_users_of_its_own() -> None:
    """On the broker under its own name, in ClickHouse too, except for migrate, who makes the tables."""
    users = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.d" / "sunledger.xml").getroot()
    known = {user.tag for user in users.find("users") or ()}
    jaas = SERVICES["kafka"]["environment"]["KAFKA_LISTENER_NAME_CLIENTS_PLAIN_SASL_JAAS_CONFIG"]
    passwords = dict(re.findall(r'user_(\w+)="\$\{(\w+):\?\}"', jaas))
    assert set(passwords) == set(RIGHTS) | {"migrate"}
    assert len(set(passwords.values())) == len(passwords)
    for name in SETTINGS:
        given = SERVICES[name]["environment"]
        assert given[f"{PREFIX}KAFKA_USERNAME"] == name
        assert given[f"{PREFIX}KAFKA_PASSWORD"] == f"${{{passwords[name]}:?}}"
        url = given.get(f"{PREFIX}CLICKHOUSE_URL")
        if url is None:
            continue
        user, variable = re.findall(r"//(\w+):\$\{(\w+):\?\}@", url)[0]
        if name == "migrate":
            assert user == SERVICES["clickhouse"]["environment"]["CLICKHOUSE_USER"]
        else:
            assert user == name
            assert name in known
            password = users.find(f"users/{name}/password")
            assert password is not None
            assert password.attrib["from_env"] == variable
        assert variable in SERVICES["clickhouse"]["environment"] or name == "migrate"


def test_the_broker_lets_nobody_in_unknown() -> None:
    """What can be reached from outside its container asks for a user, and what is not allowed is denied."""
    given = SERVICES["kafka"]["environment"]
    protocols = dict(pair.split(":") for pair in given["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    for listener in given["KAFKA_LISTENERS"].split(","):
        name, address = listener.split("://")
        assert address.startswith("127.0.0.1:") or protocols[name].startswith("SASL_"), listener
    assert given["KAFKA_AUTHORIZER_CLASS_NAME"].endswith("StandardAuthorizer")
    assert given["KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND"] == "false"
    assert set(given["KAFKA_SUPER_USERS"].split(";")) == {"User:ANONYMOUS", "User:migrate"}
    grants = f"{PREFIX}KAFKA_GRANTS"
    assert SERVICES["migrate"]["environment"][grants] == "true"


def test_the_stores_host_is_allowed() -> None:
    """Datasets may name the store of the compose file, which is no public address, and no other service."""
    for name in ("api", "producers"):
        assert SERVICES[name]["environment"][f"{PREFIX}SOURCE_HOSTS"] == "s3:9000"


def test_health_checks_ask_the_port_that_is_set() -> None:
    """The address in a health check is the one the process listens on."""
    for name, variable in {
        "api": "API_PORT",
        "worker": "OPS_PORT",
        "producers": "OPS_PORT",
        "verifier": "OPS_PORT",
    }.items():
        service = SERVICES[name]
        port = service["environment"][f"{PREFIX}{variable}"]
        assert f"127.0.0.1:{port}/healthz" in " ".join(service["healthcheck"]["test"])


def test_no_password_has_a_default() -> None:
    """Every variable that is not optional is required; all are listed in the example, and empty there."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    found = [(match[1] or match[3], match[2]) for match in VARIABLE.finditer(text)]
    assert {name for name, _ in found} == set(EXAMPLE)
    assert all(default == ":?" for name, default in found if name not in OPTIONAL)
    assert not any(re.search("PASSWORD|SECRET|KEY", name) for name in OPTIONAL)
    assert set(EXAMPLE.values()) == {""}


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_the_environment(name: str) -> None:
    """No password, secret or key stands in the file."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|_KEY$|CLI_AUTH", variable):
            assert VARIABLE.fullmatch(str(value)), variable
        for password in re.findall(r"//[^:/]*:([^@]*)@", str(value)):
            assert VARIABLE.fullmatch(password), variable


def test_volumes_and_mounted_files_exist() -> None:
    """A named volume is declared, a mounted file is in the repository, and every declared volume is used."""
    named = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            if isinstance(mount, dict):  # a file of the operator's, or nothing
                assert any(name in mount["source"] for name in OPTIONAL)
                continue
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file()
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def test_stores_keep_their_data() -> None:
    """Every part of production writes to a named volume."""
    assert all(any(not m.startswith(".") for m in SERVICES[name]["volumes"]) for name in PARTS)


def analysts_views() -> set[str]:
    """The views for analysts, as the data dictionary lists them."""
    spec = spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return set(module.ANALYSTS)


def test_the_analyst_may_read_the_views_for_analysts_only() -> None:
    """No grant on a table, no way to write, no password in the file, and views that need no more."""
    users = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.d" / "sunledger.xml").getroot()
    analyst = users.find("users/analyst")
    assert analyst is not None
    granted = [re.fullmatch(r"GRANT SELECT ON sunledger\.(\w+)", q.text or "") for q in analyst.iter("query")]
    assert {grant[1] for grant in granted if grant} == analysts_views()
    assert all(granted)
    password = analyst.find("password")
    assert password is not None
    assert password.attrib["from_env"] in SERVICES["clickhouse"]["environment"]
    assert not password.text
    assert users.findtext("profiles/analyst/readonly") == "2"
    assert analyst.findtext("profile") == "analyst"
    assert users.findtext("profiles/default/default_normal_view_sql_security") == "DEFINER"
    server = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "config.d" / "sunledger.xml").getroot()
    assert server.findtext("ignore_empty_sql_security_in_create_view_query") == "0"
    database = ApiSettings.model_fields["clickhouse_database"].default
    assert database == "sunledger"


def test_the_image_holds_every_package() -> None:
    """What the wheel is built from is copied, and the context lets it in."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    ignore = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    for package in ("api", "producers", "schemas", "sinks", "streams", "sunledger"):
        assert f"COPY {package} {package}\n" in dockerfile
        assert f"!{package}\n" in ignore
    assert re.search(r"^USER (?!root)", dockerfile, re.MULTILINE)
