"""docs/security.md names a test for every threat, and every test that it names is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SELF = "tests/security/test_threats.py"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)))


def _rows() -> list[list[str]]:
    """Rows of the tables of threats."""
    part = TEXT.split("## Threats and answers")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in part.splitlines()
        if line[:1] == "|"
    ]
    return [row for row in rows if row[0] not in ("threat",) and not set(row[0]) <= set("- ")]


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[f"{path}::{name}" for path, name in NAMED])
def test_every_named_test_exists(path: str, name: str) -> None:
    """A test that was renamed or removed takes its line in the threat model with it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tests = {node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_")}
    assert tests
    assert not name or name in tests


def test_every_threat_has_an_answer_and_a_test() -> None:
    """Three columns, none empty, and the last one names a test."""
    rows = _rows()
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 3, row
        assert all(row), row
        assert "`tests/" in row[2], row


def test_every_test_of_security_is_in_the_model() -> None:
    """A file of tests here stands for some threat, so the document names it."""
    files = {f"tests/security/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert f"`{SELF}`" in TEXT
    assert files <= {path for path, _ in NAMED}
