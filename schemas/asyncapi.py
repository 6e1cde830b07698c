"""The AsyncAPI 3.0 document of the topics: channels, messages, headers, keys, and who sends what.

It speaks for Sunledger: what it receives others publish, what it sends others may read. Everything in it
comes from the registry of topics, the headers and the JSON Schemas, so it cannot differ from the code.
"""

from typing import Any, Final

from schemas import headers
from schemas.documents import schemas_by_topic
from schemas.topics import HOMES, PAYMENTS, READS, TOPICS, TopicSpec

VERSION: Final = "3.0.0"
"""Of the AsyncAPI specification."""
_BINDING: Final = "0.5.0"
"""Version of the Kafka bindings."""
_RECEIVED: Final = frozenset({PAYMENTS.name, READS.name})
_TEXT: Final = {"type": "string"}

_ROW_HEADERS: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Texts in UTF-8. A direct publisher needs only organization_id; dataset_id says under"
    " which dataset's rules a row is judged, source_ref and line name it in a receipt.",
    "properties": {
        headers.ORGANIZATION_ID: {**_TEXT, "description": "Organisation that owns the row."},
        headers.DATASET_ID: {**_TEXT, "description": "Dataset the row came through, one of its own."},
        headers.DATASET_VERSION: {
            **_TEXT,
            "pattern": "^[0-9]{1,18}$",
            "description": "Version of the dataset that the sender knows; workers catch up with it.",
        },
        headers.SOURCE: {**_TEXT, "description": "Channel the row came by; `topic` when it is left out."},
        headers.SOURCE_REF: {
            **_TEXT,
            "description": "The sender's name of the batch; with line it names a received row.",
        },
        headers.LINE: {
            **_TEXT,
            "pattern": "^[0-9]{1,10}$",
            "description": "Place of the row in the batch, from 1.",
        },
        headers.RECEIVED_AT: {**_TEXT, "description": "ISO 8601; the record's own time when left out."},
        headers.SEALED: {**_TEXT, "description": "Set by Sunledger: encrypted originals."},
        headers.UNREADABLE: {**_TEXT, "description": "Set by Sunledger: why a reader gave the row up."},
        headers.UNREADABLE_DETAIL: {
            **_TEXT,
            "description": "Set by Sunledger, signed: the same in words, without anything of the row.",
        },
        headers.ORIGIN: {**_TEXT, "description": "Set by Sunledger, signed: where it was sent on from."},
        headers.REPLAY_OF: {**_TEXT, "description": "Set by Sunledger, signed: the row it replays."},
    },
    "required": [headers.ORGANIZATION_ID],
}

_ABOUT: Final = f"""Streaming ingestion of payments and device reads.

The home of a record is murmur2 of its key, sign bit cleared, modulo {HOMES}; its partition is the home modulo
the number of partitions, a power of two: Kafka's own default partitioner (librdkafka: `murmur2_random`)
chooses the same one. A record that lies elsewhere, or has another key, is sent on once by a worker; nothing
else comes of it. Publish idempotently with acks=all, and publish again whatever was not acknowledged: a row
whose ID and content are known counts once."""


def asyncapi(prefix: str, version: str) -> dict[str, Any]:
    """The document of an installation.

    Args:
        prefix: put before every topic's name.
        version: of the program.
    """
    payloads = schemas_by_topic()
    components: dict[str, Any] = {}
    for topic in TOPICS:
        components |= _bundled(topic.name, payloads[topic.name])
    return {
        "asyncapi": VERSION,
        "info": {"title": "Sunledger", "version": version, "description": _ABOUT},
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic, prefix) for topic in TOPICS},
        "operations": {_operation_name(topic): _operation(topic) for topic in TOPICS},
        "components": {"messages": {topic.name: _message(topic) for topic in TOPICS}, "schemas": components},
    }


def _bundled(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A topic's schema and its definitions as components: in this document `#` is the document."""
    rest = {key: value for key, value in schema.items() if key not in ("$schema", "$defs")}
    found = {name: rest, **{f"{name}.{key}": value for key, value in schema.get("$defs", {}).items()}}
    return {key: _pointed(value, f"#/components/schemas/{name}.") for key, value in found.items()}


def _pointed(part: Any, place: str) -> Any:
    """The part of a schema with its references to definitions turned to where they are now."""
    if isinstance(part, dict):
        return {
            key: value.replace("#/$defs/", place) if key == "$ref" else _pointed(value, place)
            for key, value in part.items()
        }
    return [_pointed(item, place) for item in part] if isinstance(part, list) else part


def _channel(topic: TopicSpec, prefix: str) -> dict[str, Any]:
    return {
        "address": topic.full_name(prefix),
        "description": topic.summary,
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {
            "kafka": {
                "topic": topic.full_name(prefix),
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compacted else "delete"],
                    "retention.ms": topic.retention_ms,
                },
                "bindingVersion": _BINDING,
            }
        },
    }


def _message(topic: TopicSpec) -> dict[str, Any]:
    lineage = {"headers": _ROW_HEADERS} if topic.name in _RECEIVED else {}
    return {
        "name": topic.name,
        "contentType": "application/json",
        "summary": topic.summary,
        **lineage,
        "payload": {"$ref": f"#/components/schemas/{topic.name}"},
        "bindings": {"kafka": {"key": {**_TEXT, "description": f"{topic.key}."}, "bindingVersion": _BINDING}},
    }


def _operation_name(topic: TopicSpec) -> str:
    return f"{'receive' if topic.name in _RECEIVED else 'send'}.{topic.name}"


def _operation(topic: TopicSpec) -> dict[str, Any]:
    return {
        "action": "receive" if topic.name in _RECEIVED else "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{topic.name}"}],
        "summary": topic.summary,
    }
