"""The documents served under /schemas/, made once from `schemas/`."""

import hashlib
import json
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import yaml

from schemas.asyncapi import asyncapi
from schemas.documents import DIALECT, payment_schema, schemas_by_topic
from schemas.fields import PROFILES
from schemas.topics import TOPICS

JSON_TYPE: Final = "application/json"
YAML_TYPE: Final = "application/yaml"
"""RFC 9512."""


class Document(NamedTuple):
    """One document: its bytes, media type and strong ETag (RFC 9110), quotes included."""

    body: bytes
    media_type: str
    etag: str


class Documents:
    """All documents of an installation, by their path below /schemas/."""

    def __init__(self, topic_prefix: str) -> None:
        """`topic_prefix` is put before every topic's name in the AsyncAPI document."""
        described = asyncapi(topic_prefix, version("sunledger"))
        found: dict[str, Any] = {"asyncapi.json": described}
        found |= {f"{name}.json": schema for name, schema in schemas_by_topic().items()}
        found |= {
            f"payments/{profile}.json": {"$schema": DIALECT, **payment_schema(profile)}
            for profile in PROFILES
        }
        self._documents = {path: _document(_json(value), JSON_TYPE) for path, value in found.items()}
        text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
        self._documents["asyncapi.yaml"] = _document(text.encode(), YAML_TYPE)
        self._documents[""] = _document(_json(self._index()), JSON_TYPE)

    def find(self, path: str) -> Document | None:
        """The document of a path, None if there is none; the empty path is the index."""
        return self._documents.get(path)

    def _index(self) -> dict[str, Any]:
        """What there is: addresses, relative to the root of the API."""
        return {
            "asyncapi": {form: f"/schemas/asyncapi.{form}" for form in ("json", "yaml")},
            "topics": {topic.name: f"/schemas/{topic.name}.json" for topic in TOPICS},
            "payments": {profile: f"/schemas/payments/{profile}.json" for profile in PROFILES},
            "templates": {form: f"/v1/templates/payments.{form}" for form in ("csv", "xlsx")},
        }


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


def _document(body: bytes, media_type: str) -> Document:
    return Document(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
