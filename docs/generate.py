"""Writes the generated documents from the code: `python docs/generate.py`, or `--check` to compare only.

- `operations.md`, between its marks: settings of every process, metrics, reason codes
- `topics.md`: topics, headers, fields of every record
- `data-dictionary.md`: tables and views with their columns, as the ClickHouse engine tells them after the DDL
"""

import ast
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from inspect import getsource
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

DOCS: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

import chdb  # noqa: E402 - the project is importable only from here on
from prometheus_client.metrics import MetricWrapperBase  # noqa: E402
from pydantic import SecretStr  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402
from pydantic_settings import BaseSettings  # noqa: E402

import api.metrics  # noqa: E402
import api.relay_metrics  # noqa: E402
import producers.metrics  # noqa: E402
import schemas.headers  # noqa: E402
import streams.metrics  # noqa: E402
import streams.verify.metrics  # noqa: E402
from schemas.documents import schemas_by_topic  # noqa: E402
from schemas.faults import SENTENCES  # noqa: E402
from schemas.fields import PROFILES  # noqa: E402
from schemas.outcomes import WAITS_FOR, Code  # noqa: E402
from schemas.topics import DAY_MS, HOMES, TOPICS, TopicSpec  # noqa: E402
from sinks.migrate import migrations  # noqa: E402
from sunledger.settings import (  # noqa: E402
    PREFIX,
    ApiSettings,
    MigrateSettings,
    ProducersSettings,
    Secret,
    VerifierSettings,
    WhySettings,
    WorkerSettings,
)

PROCESSES: Final[dict[str, type[BaseSettings]]] = {
    "migrate": MigrateSettings,
    "api": ApiSettings,
    "worker": WorkerSettings,
    "producers": ProducersSettings,
    "verifier": VerifierSettings,
    "why": WhySettings,
}
METRICS: Final = {
    "worker": (streams.metrics,),
    "producers": (producers.metrics, api.relay_metrics),
    "verifier": (streams.verify.metrics,),
    "api": (api.metrics,),
}
MADE: Final = "<!-- Written by docs/generate.py; edit the code it is made from. -->"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars and line ends in cells are made harmless."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


# -- settings


def settings_tables() -> str:
    """One table per process: variable, form, default, meaning."""
    parts = []
    for process, kind in PROCESSES.items():
        rows = [
            (f"`{PREFIX}{name.upper()}`", _form(field), _default(field), field.description or "")
            for name, field in kind.model_fields.items()
        ]
        parts.append(
            f"### `sunledger {process}`\n\n{table(('variable', 'form', 'default', 'meaning'), rows)}"
        )
    return "\n\n".join(parts)


def _form(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if type(None) in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not type(None))
    metadata = [*field.metadata, *getattr(kind, "__metadata__", ())]
    kind = getattr(kind, "__origin__", kind) if get_origin(kind) is Annotated else kind
    if kind is SecretStr:
        is_key = any(part in metadata for part in get_args(Secret)[1:])
        return "secret, urlsafe base64 of at least 32 bytes" if is_key else "secret text"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    bounds = {
        name: getattr(part, name) for part in metadata for name in ("ge", "gt", "le") if hasattr(part, name)
    }
    words = {"ge": "at least", "gt": "above", "le": "at most"}
    texts = [f"{words[name]} {value:g}" for name, value in bounds.items()]
    names = {"int": "whole number", "float": "number", "str": "text", "Path": "path", "bool": "true or false"}
    name = names[kind.__name__]
    return ", ".join([name, *texts])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default_factory is not None:
        return "made at start"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return f"`{value}`" if value not in ("", None) else "empty"


# -- metrics and reasons


def metrics_tables() -> str:
    """One table per process: name, type, labels, meaning."""
    return "\n\n".join(
        f"### `sunledger {process}`\n\n{table(('metric', 'type', 'labels', 'meaning'), _metrics_of(modules))}"
        for process, modules in METRICS.items()
    )


def _metrics_of(modules: tuple[ModuleType, ...]) -> list[tuple[str, str, str, str]]:
    rows = []
    for metric in [value for module in modules for value in vars(module).values()]:
        if isinstance(metric, MetricWrapperBase):
            family = next(iter(metric.describe()))
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append((f"`{name}`", family.type, labels, family.documentation))
    return rows


def reasons_table() -> str:
    """Reason codes with what each says and whether such a row replays itself."""
    rows = [(f"`{code.value}`", SENTENCES[code], _replays(code)) for code in Code]
    return table(("code", "meaning", "replays itself"), rows)


def _replays(code: Code) -> str:
    return "when it is registered" if code in WAITS_FOR else ""


# -- topics


def topics_page() -> str:
    """topics.md."""
    documents = schemas_by_topic()
    rows = [(f"`{t.name}`", t.key, str(t.partitions), _retention(t), t.summary) for t in TOPICS]
    headers = [(f"`{value}`", text) for value, text in _headers()]
    profiles = [
        (f"`{name}`", ", ".join(f"`{f}`" for f in sorted(needed))) for name, needed in PROFILES.items()
    ]
    return "\n\n".join(
        [
            "# Topics",
            MADE,
            "Every name has the installation's prefix (`SUNLEDGER_TOPIC_PREFIX`) before it. Values are JSON "
            "objects in UTF-8. `sunledger migrate` creates the topics; the broker creates none by itself. "
            "Record time is ingest time, so a late event never meets retention.",
            table(("topic", "key", "partitions", "kept", "what it holds"), rows),
            f"The home of a record is murmur2 of its key modulo {HOMES}; its partition is home modulo the "
            "number of partitions. A record that lies elsewhere is sent on once by a worker.",
            "## Headers",
            "Text in UTF-8. A direct publisher needs only `organization_id`.",
            table(("header", "meaning"), headers),
            "## Profiles of payments",
            "Which fields a payment must have. Under `upload` PAYMENT_CURRENCY may be left out only if the "
            "dataset has a default currency; otherwise the row is refused with `missing:PAYMENT_CURRENCY`.",
            table(("profile", "required fields"), profiles),
            *[_topic_section(t, documents[t.name]) for t in TOPICS],
        ]
    )


def _retention(topic: TopicSpec) -> str:
    if topic.compacted:
        return "newest record of each key"
    return f"{topic.retention_ms // DAY_MS} days"


def _headers() -> list[tuple[str, str]]:
    """Header names with the text under each in `schemas/headers.py`."""
    body = ast.parse(getsource(schemas.headers)).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            text = str(after.value.value) if is_text else _NAMED_HEADERS[str(node.value.value)]  # type: ignore[union-attr]
            found.append((str(node.value.value), text))
    return found


_NAMED_HEADERS: Final = {
    "organization_id": "Organisation that owns the row.",
    "dataset_id": "Dataset the row came through.",
}


def _topic_section(topic: TopicSpec, schema: dict[str, Any]) -> str:
    # a field with other names is required under any of them
    named = [part["if"]["required"][0] for part in schema.get("allOf", ()) if "required" in part["else"]]
    required = {*schema.get("required", ()), *named}
    rows = [
        (f"`{name}`", _json_type(part), "yes" if name in required else "", part.get("description", ""))
        for name, part in schema.get("properties", {}).items()
    ]
    return f"## `{topic.name}`\n\n{topic.summary}\n\n{table(('field', 'type', 'required', 'meaning'), rows)}"


def _json_type(part: dict[str, Any]) -> str:
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_json_type(option) for option in part["anyOf"]))
    if "enum" in part or "const" in part:
        return ", ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    if "$ref" in part:
        return "object"
    kind = part.get("type", "any")
    return f"{kind} ({part['format']})" if "format" in part else str(kind)


# -- data dictionary


ANALYSTS: Final = (
    "verification", "verification_as_known", "payments", "reads", "ledger", "quarantine", "conflicts",
    "match_hints", "organizations", "projects", "devices", "connections", "datasets",
)  # fmt: skip
"""Views that analysts name; the other views are steps of these."""


def dictionary_page() -> str:
    """data-dictionary.md, asked from an engine in memory after the numbered DDL."""
    tables, columns = _described()
    names = sorted(tables)
    views = [name for name in names if tables[name]["engine"] == "View"]
    groups = {
        "Views for analysts": list(ANALYSTS),
        "Views that these are made of": [name for name in views if name not in ANALYSTS],
        "Tables": [name for name in names if name not in views],
    }
    parts = [
        "# Data dictionary",
        MADE,
        "Database `sunledger` (setting `SUNLEDGER_CLICKHOUSE_DATABASE`). Analysts read views: they are right "
        "before any merge, and personal fields in them are pseudonyms. Tables keep every version.",
    ]
    for title, members in groups.items():
        parts.append(f"## {title}")
        parts += [_table_section(tables[name], columns[name]) for name in members]
    return "\n\n".join(parts)


def _described() -> tuple[dict[str, dict[str, str]], dict[str, list[dict[str, str]]]]:
    engine = chdb.connect(":memory:")
    try:
        engine.query("CREATE DATABASE sunledger")
        for migration in migrations():
            for statement in migration.statements("sunledger"):
                engine.query(statement)
        ask: Callable[[str], list[dict[str, str]]] = lambda sql: [  # noqa: E731
            json.loads(line) for line in str(engine.query(sql, "JSONEachRow")).splitlines() if line
        ]
        found = ask(
            "SELECT name, engine, sorting_key, partition_key, comment, create_table_query FROM system.tables"
            " WHERE database = 'sunledger'"
        )
        columns: dict[str, list[dict[str, str]]] = {row["name"]: [] for row in found}
        for column in ask(
            "SELECT table, name, type, comment FROM system.columns"
            " WHERE database = 'sunledger' ORDER BY table, position"
        ):
            columns[column["table"]].append(column)
    finally:
        engine.close()
    return {row["name"]: row for row in found}, columns


def _table_section(about: dict[str, str], columns: list[dict[str, str]]) -> str:
    name = about["name"]
    if name.endswith("_as_known"):
        call = f"{name}(at = '2026-06-30 23:59:59.999')"
        plain = name.removesuffix("_as_known")
        return f"### `{name}`\n\n`{plain}` as it was known at the moment `at`, a text in UTC: `{call}`."
    keys = f"\n\nOrdered by `{about['sorting_key']}`" if about["sorting_key"] else ""
    keys += f", partitioned by `{about['partition_key']}`." if about["partition_key"] else "." if keys else ""
    rows = [(f"`{column['name']}`", f"`{column['type']}`", column["comment"]) for column in columns]
    meaning = about["comment"] if about["comment"].endswith("?") else f"{about['comment']}."
    return f"### `{name}`\n\n{meaning}{keys}\n\n{table(('column', 'type', 'meaning'), rows)}"


# -- writing


def pages() -> dict[Path, str]:
    """Every generated document as it should be."""
    operations = DOCS / "operations.md"
    text = operations.read_text(encoding="utf-8")
    for name, made in (
        ("settings", settings_tables()),
        ("metrics", metrics_tables()),
        ("reasons", reasons_table()),
    ):
        begin, end = f"<!-- begin {name}: written by docs/generate.py -->", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise SystemExit(f"{operations.name} lacks the marks of {name}")
        text = f"{before}{begin}\n\n{made}\n\n{end}{after}"
    return {
        operations: text,
        DOCS / "topics.md": topics_page() + "\n",
        DOCS / "data-dictionary.md": dictionary_page() + "\n",
    }


def main(check: bool) -> int:
    """Write what differs; with `check` only name it. Returns 1 when a document was stale under `check`."""
    stale = [
        (path, text)
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        sys.stdout.write(f"{path.name} {'is stale' if check else 'written'}\n")
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
