"""JSON Schema of every topic's value, generated from the models and the table of fields."""

from typing import Any, Final

from pydantic import TypeAdapter

from schemas import payment_model, read_model
from schemas.alerts import DatasetFailing
from schemas.fields import ALIASES, CUSTOM, FIELDS, PROFILES
from schemas.registry import REGISTRY_MODELS
from schemas.topics import ALERTS, PAYMENTS, QUARANTINE, READS, REGISTRY, TopicSpec

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def payment_schema(profile: str) -> dict[str, Any]:
    """JSON Schema of a payment under a profile.

    Raises:
        KeyError: there is no such profile.
    """
    schema: dict[str, Any] = payment_model.RECORD.json_schema(mode="validation")
    for field in FIELDS:
        schema["properties"][field.name]["description"] = _description(field.summary, field.name)
    schema["properties"][CUSTOM]["description"] = "Unknown columns by name."
    schema["required"] = sorted(PROFILES[profile])
    # An unknown key is no fault: the pipeline keeps it under `custom`.
    schema["additionalProperties"] = True
    return schema


def _description(summary: str, name: str) -> str:
    """A field's summary with its other names."""
    aliases = [f"`{alias}`" for alias, canonical in ALIASES.items() if canonical == name]
    return f"{summary} Also {', '.join(aliases)}." if aliases else summary


def _quarantine_schema() -> dict[str, Any]:
    """What outside tools get of a refused record; the streams write it."""
    text = {"type": "string"}
    return {
        "title": "QuarantinedRecord",
        "type": "object",
        "properties": {
            "topic": text,
            "position": {"type": "integer"},
            "organization_id": text,
            "record_id": text,
            "reasons": {"type": "array", "items": text},
            "dataset_id": text,
            "source": text,
            "source_ref": text,
            "line": {"type": "integer"},
        },
        "required": ["topic", "position", "reasons"],
    }


def schemas_by_topic() -> dict[str, dict[str, Any]]:
    """Topic name (without prefix) → JSON Schema of its value."""
    documents = {
        PAYMENTS: payment_schema("api"),
        READS: read_model.RECORD.json_schema(mode="validation"),
        QUARANTINE: _quarantine_schema(),
        ALERTS: DatasetFailing.model_json_schema(),
        **{
            REGISTRY[kind]: TypeAdapter(model).json_schema(mode="serialization")
            for kind, model in REGISTRY_MODELS.items()
        },
    }
    return {spec.name: _titled(spec, schema) for spec, schema in documents.items()}


def _titled(spec: TopicSpec, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, "description": spec.summary, **schema}
