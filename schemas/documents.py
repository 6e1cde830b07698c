"""JSON Schema of every topic's value, generated from the models and the table of fields."""

from typing import Any, Final

from pydantic import TypeAdapter

from schemas import payment_model, read_model
from schemas.alerts import DatasetFailing
from schemas.cells import BLANK_SCHEMA
from schemas.custom import MAX_CUSTOM
from schemas.fields import ALIASES, CUSTOM, FIELDS, PROFILES, Field
from schemas.registry import REGISTRY_MODELS
from schemas.topics import ALERTS, PAYMENTS, QUARANTINE, READS, REGISTRY, TopicSpec

_READABLE: Final = {"minimum": -(2**63), "maximum": 2**64 - 1}
"""Whole numbers that JSON readers keep: a longer one reaches the validation as a float, which is no id."""
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def payment_schema(profile: str) -> dict[str, Any]:
    """JSON Schema of a payment under a profile.

    It refuses nothing that the validation accepts. What a pattern cannot say it leaves to the validation:
    days that a month has not, names of currencies, the range of a number's text, 5.0 for an integer.

    Raises:
        KeyError: there is no such profile.
    """
    required = PROFILES[profile]
    made = payment_model.RECORD.json_schema(mode="validation")["properties"]
    properties: dict[str, Any] = {}
    named: list[dict[str, Any]] = []
    for field in FIELDS:
        aliases, needed = _aliases(field), field.name in required
        cell = _cell_schema(made[field.name], needed and not aliases)
        properties[field.name] = {"description": _description(field), **cell, "examples": [field.example]}
        for alias in aliases:
            properties[alias] = {"description": f"The same as {field.name}, if that has no value."}
            named.append(_by_alias(field.name, alias, _cell_schema(made[field.name], needed), needed))
    properties[CUSTOM] = {
        "description": "Unknown columns by name.",
        "type": ["object", "null"],
        "maxProperties": MAX_CUSTOM,
    }
    aliased = set(ALIASES.values())
    return {
        "title": "Payment",
        "type": "object",
        "properties": properties,
        "required": sorted(required - aliased),
        "allOf": named,
        # An unknown key is no fault: the pipeline keeps it under `custom`.
        "additionalProperties": True,
    }


def _cell_schema(made: dict[str, Any], required: bool) -> dict[str, Any]:
    """A cell that must, or may, have a value: a placeholder and null are none."""
    forms = [form for form in made.get("anyOf", [made]) if form != {"type": "null"}]
    forms = [{key: value for key, value in form.items() if key != "title"} for form in forms]
    forms = [{**_READABLE, **form} if form.get("type") == "integer" else form for form in forms]
    if required:
        return {"anyOf": forms, "not": BLANK_SCHEMA}
    return {"anyOf": [*forms, {"type": "null"}, BLANK_SCHEMA]}


def _by_alias(name: str, alias: str, cell: dict[str, Any], needed: bool) -> dict[str, Any]:
    """Where a field has no value under its own name, another name stands for it (`canonical_row`)."""
    has_value = {
        "required": [name],
        "properties": {name: {"not": {"anyOf": [{"type": "null"}, BLANK_SCHEMA]}}},
    }
    stands = {"properties": {alias: cell}}
    return {"if": has_value, "else": {**stands, "required": [alias]} if needed else stands}


def _aliases(field: Field) -> list[str]:
    return [alias for alias, canonical in ALIASES.items() if canonical == field.name]


def _description(field: Field) -> str:
    """A field's summary with its other names."""
    aliases = [f"`{alias}`" for alias in _aliases(field)]
    return f"{field.summary} Also {', '.join(aliases)}." if aliases else field.summary


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
