"""Texts that would change a statement or leave a page, and requests that carry them into every parameter."""

import base64
import json
from collections.abc import Iterator
from typing import Any

TEXTS = (
    "' OR 1=1 --",
    "' OR '1'='1",
    "\\' OR 1=1 --",
    "x' UNION ALL SELECT * FROM sentinel --",
    "'; DROP TABLE sentinel; --",
    "1); TRUNCATE TABLE sentinel; --",
    "{organization_id:String}",
    "{sentinel:Identifier}",
    "%(record_id)s",
    "${jndi:ldap://x}",
    "`sentinel`",
    "\u2019 OR 1=1 --",
    "' OR sleep(3) = 0 --",
    "'\\\\' OR 1 --",
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
)
VERBS = ("get", "post", "put", "patch", "delete")


class Shape:
    """Makes values that fit the schemas of one OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema a reference stands for, and of alternatives the first that is not null."""
        while True:
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                schema = self._document["components"]["schemas"][name]
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                schema = next(o for o in options if o.get("type") != "null")
            elif len(schema.get("allOf", ())) == 1:
                schema = schema["allOf"][0]
            else:
                return schema

    def is_text(self, schema: dict[str, Any]) -> bool:
        """Whether a text may be sent there."""
        found = self.resolved(schema)
        return found.get("type") == "string" and "enum" not in found and "const" not in found

    def filled(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """A value of a schema, every property included."""
        found = self.resolved(schema)
        if "const" in found:
            return found["const"]
        if "enum" in found:
            return found["enum"][0]
        if found.get("type") == "object" or "properties" in found:
            if depth > 6:
                return {}
            return {name: self.filled(part, depth + 1) for name, part in found.get("properties", {}).items()}
        if found.get("type") == "array":
            return [self.filled(found.get("items", {}), depth + 1)] if depth < 6 else []
        return {"integer": 1, "number": 1, "boolean": True}.get(str(found.get("type")), "text")


def paths_of_texts(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the texts in a JSON value are."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from paths_of_texts(part, (*at, name))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from paths_of_texts(part, (*at, index))


def with_text(value: Any, at: tuple[str | int, ...], text: str) -> Any:
    """A copy of a JSON value with another text in one place."""
    if not at:
        return text
    made = json.loads(json.dumps(value))
    inner = made
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = text
    return made


def cursors(text: str) -> Iterator[str]:
    """What pages hand out as cursors, with this text in the places of theirs."""
    for inside in ([text, 1], [text, text, 1], text):
        yield base64.urlsafe_b64encode(json.dumps(inside).encode()).decode().rstrip("=")
