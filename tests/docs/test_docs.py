"""The documents tell the truth: commands, settings, links and generated parts are those of the code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from pydantic_settings import BaseSettings

from api.metrics import REQUESTS
from streams import metrics as stream_metrics
from sunledger import settings
from sunledger.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
WRITTEN = [page for page in PAGES if page.name not in {"topics.md", "data-dictionary.md"}]
CODE = re.compile(r"`([^`\n]+)`|^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def snippets(text: str) -> list[str]:
    """What stands in backticks, line by line."""
    return [line for found in CODE.finditer(text) for line in (found[1] or found[2] or "").splitlines()]


def commands() -> dict[str, set[str]]:
    """Commands of `sunledger` with their options."""
    group = typer.main.get_command(app)
    return {
        name: {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def test_the_readme_is_under_two_screens() -> None:
    """A newcomer reads it to the end."""
    assert len(TEXT[ROOT / "README.md"].splitlines()) <= 80


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_is_named_exists(page: Path) -> None:
    """`sunledger X --option` in any document is a command that has this option."""
    known = commands()
    for snippet in snippets(TEXT[page]):
        for name, rest in re.findall(r"(?:^|[\s;])sunledger ([a-z-]+)((?: [^\s#,;]+)*)", snippet):
            assert name in known, f"`sunledger {name}` in {page.name} is no command"
            for option in re.findall(r"--[a-z-]+", rest):
                assert option in known[name], f"`sunledger {name}` has no {option}, see {page.name}"


def test_every_command_is_in_the_readme() -> None:
    """Nobody has to find a command by accident."""
    text = TEXT[ROOT / "README.md"]
    assert [name for name in commands() if not re.search(rf"sunledger {name}\b|`{name}`", text)] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_make_target_exists(page: Path) -> None:
    """`make X` in any document is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    for snippet in snippets(TEXT[page]):
        for target in re.findall(r"(?:^|[;&]\s*)make ([a-z-]+)", snippet.strip()):
            assert target in targets, f"`make {target}` in {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    """A variable `SUNLEDGER_…` in any document is a field of a settings class."""
    kinds = [
        kind for kind in vars(settings).values() if isinstance(kind, type) and issubclass(kind, BaseSettings)
    ]
    known = {f"{settings.PREFIX}{name.upper()}" for kind in kinds for name in kind.model_fields}
    assert set(re.findall(r"SUNLEDGER_[A-Z_]*[A-Z]", TEXT[page])) <= known


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_resolve(page: Path) -> None:
    """A link to a file leads to one that is there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT[page]):
        if not target.startswith(("https://", "http://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), f"{target} in {page.name}"


@pytest.mark.parametrize("page", WRITTEN, ids=[str(page.relative_to(ROOT)) for page in WRITTEN])
def test_files_that_are_named_exist(page: Path) -> None:
    """A path in backticks that names a folder of ours leads to a file that is there."""
    folders = "api|producers|schemas|sinks|streams|sunledger|tests|docs|deploy|bench"
    for snippet in snippets(TEXT[page]):
        for path in re.findall(rf"(?<![\w/.-])(?:{folders})/[\w./-]+", snippet):
            assert (ROOT / path).exists(), f"{path} in {page.name}"


def test_generated_documents_are_fresh() -> None:
    """Settings, metrics, topics, reason codes and tables in the documents are those of the code."""
    found = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, f"run `python docs/generate.py`: {found.stdout}{found.stderr[-2000:]}"


def test_metrics_in_prose_exist() -> None:
    """The alarms that operations.md proposes are about metrics that there are."""
    text = TEXT[ROOT / "docs" / "operations.md"]
    listed = set(re.findall(r"^\| `(sunledger_\w+)`", text, re.MULTILINE))
    assert set(re.findall(r"`(sunledger_\w+)`", text)) == listed
    assert {REQUESTS._name, stream_metrics.LAG._name} <= listed


ALARMS = {
    "range_lost_to_retention": "streams",
    "ledger_behind_commit": "streams",
    "store_refused": "streams",
    "verify_fault": "streams",
    "seal_broken": "streams",
    "worker_failed": "streams",
    "OffsetsWentBack": "streams",
    "TopicRecreated": "streams",
    "UnexplainedHole": "streams",
    "Stalled": "streams",
}


@pytest.mark.parametrize("alarm", ALARMS)
def test_alarms_of_the_run_book_are_raised_by_the_code(alarm: str) -> None:
    """The run book has a paragraph for the alarm, and the alarm still has this name."""
    assert f"**`{alarm}`" in TEXT[ROOT / "docs" / "operations.md"]
    sources = (ROOT / ALARMS[alarm]).rglob("*.py")
    assert any(re.search(rf'"{alarm}"|class {alarm}\b', path.read_text(encoding="utf-8")) for path in sources)


DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("record", DECISIONS, ids=[record.stem for record in DECISIONS])
def test_decision_records_are_whole(record: Path) -> None:
    """A record has its four parts, is listed, and names a file or command that enforces it."""
    text = TEXT[record]
    parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequences", "Enforced by"]
    assert re.search(r"`[\w./-]+\.(py|toml)`|`make [a-z-]+`", text.split("## Enforced by")[1])
    assert f"({record.name})" in TEXT[record.parent / "README.md"]
    assert text.startswith(f"# {int(record.name[:4])}. ")
